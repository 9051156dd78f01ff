/*
 * options.h
 *		jsonb options -> a checked struct, and back.
 */
#ifndef POOL_EXHAUST_OPTIONS_H
#define POOL_EXHAUST_OPTIONS_H

#include "utils/jsonb.h"

#include "plan.h"

extern const char *const target_names[];

extern TargetKind target_find(const char *name);
extern void options_parse(Jsonb *jsonb, Options *options);
extern char *options_json(const Options *options);
extern char *options_describe(void);

#endif							/* POOL_EXHAUST_OPTIONS_H */

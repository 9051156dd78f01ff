/*
 * options.h
 *		jsonb options -> a checked struct, and back.
 */
#ifndef POOL_EXHAUST_REQUEST_OPTIONS_H
#define POOL_EXHAUST_REQUEST_OPTIONS_H

#include "utils/jsonb.h"

#include "shmem/request.h"
#include "story/story.h"

extern char *scenario_subject(const Scenario *scenario);
extern void options_parse(Jsonb *jsonb, const Scenario *scenario, TargetKind target,
						  Options *options);
extern char *options_json(const Scenario *scenario, const Options *options);
extern char *options_given(const Scenario *scenario, const Options *options, const Scenario *other);
extern char *options_describe(const Scenario *scenario);

#endif							/* POOL_EXHAUST_REQUEST_OPTIONS_H */

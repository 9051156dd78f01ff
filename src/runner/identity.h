/*
 * identity.h
 *		The login role of a run: made, used and dropped by the run.
 */
#ifndef POOL_EXHAUST_RUNNER_IDENTITY_H
#define POOL_EXHAUST_RUNNER_IDENTITY_H

#include "load/session.h"
#include "story/story.h"

extern void identity_create(Run *run, int place, int n);
extern void identity_drop(Run *run);
extern void identity_sweep(const char *name);
extern List *identity_databases(void);

#endif							/* POOL_EXHAUST_RUNNER_IDENTITY_H */

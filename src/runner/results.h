/*
 * results.h
 *		Writes runs, checks and samples.
 */
#ifndef POOL_EXHAUST_RUNNER_RESULTS_H
#define POOL_EXHAUST_RUNNER_RESULTS_H

#include "story/story.h"

extern void results_init(void);
extern int64 results_begin(Run *run);
extern void results_finish(Run *run);
extern void results_sweep(void);

#endif							/* POOL_EXHAUST_RUNNER_RESULTS_H */

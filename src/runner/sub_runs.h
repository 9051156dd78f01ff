/*
 * sub_runs.h
 *		Runs that a run starts.
 */
#ifndef POOL_EXHAUST_RUNNER_SUB_RUNS_H
#define POOL_EXHAUST_RUNNER_SUB_RUNS_H

#include "story/sub_runs.h"

extern const ChildRuns child_runs;

extern int	children_end(Run *run);
extern void children_forget(Run *run);

#endif							/* POOL_EXHAUST_RUNNER_SUB_RUNS_H */

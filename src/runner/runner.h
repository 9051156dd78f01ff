/*
 * runner.h
 *		The runner: one background worker a run.
 */
#ifndef POOL_EXHAUST_RUNNER_RUNNER_H
#define POOL_EXHAUST_RUNNER_RUNNER_H

#include "postmaster/bgworker.h"

extern BackgroundWorkerHandle *runner_launch(int place);
extern int	runner_raise_descriptors(int sessions);

extern PGDLLEXPORT void runner_main(Datum arg);

#endif							/* POOL_EXHAUST_RUNNER_RUNNER_H */

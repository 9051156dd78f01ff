/*
 * runner.h
 *		The workers of this extension: a runner for each run, and one sweeper.
 */
#ifndef POOL_EXHAUST_RUNNER_H
#define POOL_EXHAUST_RUNNER_H

#include "postmaster/bgworker.h"

extern BackgroundWorkerHandle *runner_launch(int place);

extern PGDLLEXPORT void runner_main(Datum arg);

#endif							/* POOL_EXHAUST_RUNNER_H */

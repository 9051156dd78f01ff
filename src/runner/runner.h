/*
 * runner.h
 *		The runner: one background worker a run.
 */
#ifndef POOL_EXHAUST_RUNNER_RUNNER_H
#define POOL_EXHAUST_RUNNER_RUNNER_H

extern PGDLLEXPORT void runner_main(Datum arg);

#endif							/* POOL_EXHAUST_RUNNER_RUNNER_H */

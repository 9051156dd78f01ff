/*
 * sweep.h
 *		Puts right what runs left behind when the server crashed.
 */
#ifndef POOL_EXHAUST_RUNNER_SWEEP_H
#define POOL_EXHAUST_RUNNER_SWEEP_H

extern bool sweep(void);

extern PGDLLEXPORT void sweep_main(Datum arg);

#endif							/* POOL_EXHAUST_RUNNER_SWEEP_H */

/*
 * worker.h
 *		The background workers of pool_exhaust.
 */
#ifndef POOL_EXHAUST_EVENT_WORKER_H
#define POOL_EXHAUST_EVENT_WORKER_H

#include "postmaster/bgworker.h"

extern void worker_describe(BackgroundWorker *worker, const char *name, const char *function);

#endif							/* POOL_EXHAUST_EVENT_WORKER_H */

/*
 * worker.h
 *		The background workers of pool_exhaust.
 */
#pragma once

#include "postmaster/bgworker.h"

extern void worker_describe(BackgroundWorker *worker, const char *name, const char *function);

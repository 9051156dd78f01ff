/*
 * run_pool.h
 *		The application-style pools of runs, as their runners publish them.
 */
#pragma once

#include "shmem/shared.h"

extern void run_pools_write(RunEntry *entry, const RunPool *pools, int n);
extern int	run_pools_read(RunEntry *entry, RunPool *pools);
extern int	run_pools_try(RunEntry *entry, RunPool *pools);

/*
 * run_pool.c
 *		The application-style pools of runs, as their runners publish them.
 *
 * A runner publishes at every turn of its loop, thousands of times a second,
 * and must never wait for a reader; so there is a version instead of
 * a lock, odd while it writes, as in PgBackendStatus.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "shmem/run_pool.h"

#define READS_MAX	1000

/* Called by the runner: publishes its pools as they are now; n may be 0.  Does not throw. */
void
run_pools_write(RunEntry *entry, const RunPool *pools, int n)
{
	uint32		version = pg_atomic_read_u32(&entry->pools_version);

	pg_atomic_write_u32(&entry->pools_version, version + 1);
	pg_write_barrier();
	entry->npools = n;
	if (n > 0)
		memcpy(entry->pools, pools, sizeof(RunPool) * n);
	pg_write_barrier();
	pg_atomic_write_u32(&entry->pools_version, version + 2);
}

/* Copies the pools of a run, unless they are being written. */
static bool
run_pools_copy(RunEntry *entry, RunPool *pools, int *n)
{
	uint32		before = pg_atomic_read_u32(&entry->pools_version);

	pg_read_barrier();
	*n = Min(entry->npools, RUN_PARTIES_MAX);
	memcpy(pools, entry->pools, sizeof(entry->pools));
	pg_read_barrier();
	return before % 2 == 0 && pg_atomic_read_u32(&entry->pools_version) == before;
}

/*
 * Copies the pools of a run to an array of RUN_PARTIES_MAX and returns how
 * many there are; 0 if the run has none, or none yet.
 */
int
run_pools_read(RunEntry *entry, RunPool *pools)
{
	int			n;

	while (!run_pools_copy(entry, pools, &n))
		CHECK_FOR_INTERRUPTS();
	return n;
}

/*
 * The same for the monitor, which does not wait for a runner that was stopped while it
 * wrote: 0 then, too.
 */
int
run_pools_try(RunEntry *entry, RunPool *pools)
{
	int			n;

	for (int i = 0; i < READS_MAX; i++)
		if (run_pools_copy(entry, pools, &n))
			return n;
	return 0;
}

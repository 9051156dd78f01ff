/*
 * run_entry.c
 *		Entries of the run table, for all that read them.
 */
#include "postgres.h"

#include "shmem/run_entry.h"

/* Returns whether a run is under way there.  Needs the lock, unless the entry is a copy. */
bool
run_entry_is_busy(const RunEntry *entry)
{
	return entry->state == RUN_STARTING || entry->state == RUN_RUNNING;
}

/* Copies what an entry says, but for its lines and its atomics. */
void
run_entry_copy(int number, RunEntry *entry)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	memcpy(entry, &shared->runs[number], offsetof(RunEntry, lines_written));
	LWLockRelease(shared->lock);
}

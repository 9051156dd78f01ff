/*
 * ring.c
 *		Reads the rings of shared memory.
 */
#include "postgres.h"

#include "shmem/ring.h"
#include "shmem/shared.h"

uint64
ring_first(uint64 written, int length, uint64 seen)
{
	return written > length ? Max(seen, written - length) : seen;
}

uint64
ring_written(const uint64 *written)
{
	uint64		now;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	now = *written;
	LWLockRelease(shared->observe_lock);
	return now;
}

bool
ring_read(const void *entries, Size size, int length, const uint64 *written,
		  uint64 *seen, void *entry)
{
	bool		found;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	*seen = ring_first(*written, length, *seen);
	found = *seen < *written;
	if (found)
		memcpy(entry, (const char *) entries + (*seen)++ % length * size, size);
	LWLockRelease(shared->observe_lock);
	return found;
}

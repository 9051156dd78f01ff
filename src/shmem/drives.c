/*
 * drives.c
 *		Which sessions drive load for a run of another server, and whether they still
 *		move.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"

#include "event/loop.h"
#include "shmem/drives.h"
#include "shmem/monitor_status.h"

/* One that was terminated and is still there is terminated again after that. */
#define AGAIN_US	(1000 * 1000)

void
drive_says(int ms)
{
	ptrdiff_t	number = MyProc - ProcGlobal->allProcs;
	SessionSlot *slot = &session_slots[number];
	bool		drives = ms > 0;

	if (number < 0 || number >= MaxConnections)
		return;
	pg_atomic_write_u64(&slot->drives_until_us, loop_now_us() + (uint64) ms * 1000);
	if (drives == (pg_atomic_read_u32(&slot->drives) == (uint32) MyProcPid))
		return;
	pg_write_barrier();
	pg_atomic_write_u32(&slot->drives, drives ? MyProcPid : 0);
	pg_atomic_fetch_add_u32(&shared->drives, drives ? 1 : -1);
	if (drives)
		monitor_rouse();
}

int
drive_overdue(int number)
{
	SessionSlot *slot = &session_slots[number];
	uint32		pid = pg_atomic_read_u32(&slot->drives);
	uint64		now_us = loop_now_us();
	uint64		until_us;

	if (pid == 0)
		return 0;
	pg_read_barrier();
	until_us = pg_atomic_read_u64(&slot->drives_until_us);
	if (now_us < until_us || ((volatile PGPROC *) &ProcGlobal->allProcs[number])->pid != (int) pid)
		return 0;
	return pg_atomic_compare_exchange_u64(&slot->drives_until_us, &until_us, now_us + AGAIN_US) ? (int) pid : 0;
}

/*
 * lock_waits.c
 *		pool_exhaust_lock_waits(): the sessions that wait for a heavyweight lock.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "api/rows.h"
#include "observe/monitor/service.h"
#include "observe/slots/lock_wait.h"

PG_FUNCTION_INFO_V1(pool_exhaust_lock_waits);

static void
wait_put(RowBuilder *row, const LockWait *wait, TimestampTz now)
{
	row_int(row, wait->pid);
	row_float_if(row, wait->since != 0, Max(now - wait->since, 0) / 1000.0);
	row_int_if(row, wait->root_pid != LOCK_WAIT_UNKNOWN, wait->root_pid);
	row_end(row);
}

/* SQL: one row a session that waits; of a parallel query in which several processes do, for the first of them. */
Datum
pool_exhaust_lock_waits(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	LockWait   *waits = palloc(sizeof(LockWait) * MaxBackends);
	bool	   *seen = palloc0(sizeof(bool) * MaxBackends);
	int			n = lock_waits_read(waits, MaxBackends);
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < n; i++)
	{
		const LockWait *wait = &waits[i];
		Slot		slot;

		if (seen[wait->slot] || !slot_read(wait->slot, &slot) || slot.pid != wait->pid ||
			!service_may_see(slot.role))
			continue;
		seen[wait->slot] = true;
		wait_put(&row, wait, now);
	}
	return (Datum) 0;
}

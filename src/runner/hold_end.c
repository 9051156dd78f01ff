/*
 * hold_end.c
 *		When a hold ends, and what is reported of it then.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "runner/hold_end.h"

/*
 * False if the hold is to end with the session that asked for
 * it, and that session has ended.  The runner checks it, because nothing is sent if that
 * session ends in a hurry.
 */
bool
hold_owner_is_there(const HoldRequest *request)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[request->owner_number];
	PgBackendStatus *status;

	if (request->leaked)
		return true;
	if (((volatile PGPROC *) proc)->procLatch.owner_pid != request->owner_pid)
		return false;
	/* Another process may have the same pid and the same PGPROC by now. */
	status = compat_backend_status(proc);
	return status == NULL ||
		((volatile PgBackendStatus *) status)->st_proc_start_timestamp == request->owner_started;
}

/* Records how many connections the end closes, for pool_exhaust_release(). */
void
hold_end_begins(RunEntry *entry)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry->closed = (int) pg_atomic_read_u32(&entry->connections);
	LWLockRelease(shared->lock);
}

/* Logs the end of a hold: as a rule no session waits for it. */
void
hold_log_end(const Run *run)
{
	if (run->verdict == VERDICT_FAIL)
		ereport(WARNING,
				(errmsg("pool_exhaust: the clean-up of hold " INT64_FORMAT " could not be proved: %s",
						run->entry->hold_id, run->reason)));
	else if (run->entry->held_at != 0)
		ereport(LOG,
				(errmsg("pool_exhaust: hold " INT64_FORMAT " has ended: %s",
						run->entry->hold_id, run->reason)));
}

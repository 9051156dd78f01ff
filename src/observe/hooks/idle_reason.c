/*
 * idle_reason.c
 *		Which sessions are idle on purpose: they wait for notifications, or hold
 *		an advisory lock, as elected leaders do.  They are no leaks.
 *
 * Whether a session listens is known to itself and to async.c alone; so each
 * session publishes it.  One that has listened and does not any more, because it
 * rolled back or left its last channel, is taken for a listener until UNLISTEN *
 * or DISCARD ALL: a leak that is missed is better than a false alarm.
 *
 * A session outside of a transaction holds no lock but those that last as long as
 * it does.  Whether it has any is seen without the lock manager's own locks: the
 * heads of its lists are read, not the lists.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tcop/utility.h"

#include "base/compat.h"
#include "observe/hooks/idle_reason.h"
#include "shmem/shared.h"

static ProcessUtility_hook_type prev_process_utility_hook = NULL;

static void
listen_say(bool listens)
{
	ptrdiff_t	number = MyProc != NULL ? MyProc - ProcGlobal->allProcs : -1;

	/* Others than client sessions have no slot. */
	if (number >= 0 && number < MaxConnections)
		pg_atomic_write_u32(&session_slots[number].listener, listens ? MyProcPid : 0);
}

static void
listen_observe(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo params,
			   QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	const Node *statement = pstmt->utilityStmt;
	bool		listen = IsA(statement, ListenStmt);
	bool		unlisten = (IsA(statement, UnlistenStmt) && ((const UnlistenStmt *) statement)->conditionname == NULL) ||
		(IsA(statement, DiscardStmt) && ((const DiscardStmt *) statement)->target == DISCARD_ALL);

	if (prev_process_utility_hook)
		prev_process_utility_hook(pstmt, query, read_only_tree, context, params,
								  environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, dest, completion);
	/* What is done in a transaction block, or in a function, may be undone. */
	if (listen || (unlisten && context == PROCESS_UTILITY_TOPLEVEL && !IsTransactionBlock()))
		listen_say(listen);
}

/* To be called from _PG_init while shared_preload_libraries is processed. */
void
idle_reason_init(void)
{
	prev_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = listen_observe;
}

static bool
slot_holds_lock(int number)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[number];

	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
		if (!compat_no_locks(proc, i))
			return true;
	return false;
}

/* Is the session in this slot, which is idle, so for a reason? */
bool
slot_has_idle_reason(int number, const Slot *slot)
{
	return pg_atomic_read_u32(&session_slots[number].listener) == (uint32) slot->pid ||
		(slot->state == SLOT_IDLE && slot_holds_lock(number));
}

/*
 * idle_reason.c
 *		Which sessions wait for notifications, and so are idle on purpose.
 *
 * Whether a session listens is known to itself and to async.c alone; so each
 * session publishes it.  One that has listened and does not any more, because it
 * rolled back or left its last channel, is taken for a listener until UNLISTEN *
 * or DISCARD ALL: a leak that is missed is better than a false alarm.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tcop/utility.h"

#include "observe/hooks/hooks.h"
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

void
idle_reason_init(void)
{
	prev_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = listen_observe;
}

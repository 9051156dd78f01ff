/*
 * lock_wait.c
 *		Which sessions wait for a heavyweight lock, since when, and behind which session.
 *
 * A process waits behind those that hold its lock in a mode that conflicts with the one it
 * wants, or, if none does, behind those before it in the queue of the lock that
 * want such a mode.  Following that from one to the next leads to a session that waits
 * for no lock itself: the root.  pg_blocking_pids() gives all those in front of
 * one process; for a queue of n it walks the same lists n times.
 *
 * A lock group, which is a parallel query with its workers, counts as one session: its
 * members do not wait for each other's locks, and it waits when one of them does.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "observe/slots/lock_wait.h"
#include "observe/slots/slot.h"

#define PGPROC_NUMBER(proc)	((int) ((proc) - ProcGlobal->allProcs))
#define SESSION_OF(proc)	((proc)->lockGroupLeader != NULL ? (proc)->lockGroupLeader : (proc))

/* "behind" of a row whose lock has not been walked yet */
#define NOT_WALKED			(-2)

/*
 * Two sessions for each lock mode that hold it, or want it: enough to find one beside
 * the process that asks, and to see that there are several.
 */
typedef struct ModeSessions
{
	PGPROC	   *of[MAX_LOCKMODES][2];
} ModeSessions;

static bool
some_process_waits(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
		if (((volatile PGPROC *) ProcGlobal->allProcs)[i].waitLock != NULL)
			return true;
	return false;
}

static int
waits_collect(LockWait *waits, int max)
{
	int			n = 0;

	for (uint32 i = 0; i < ProcGlobal->allProcCount && n < max; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];

		if (proc->waitLock != NULL)
			waits[n++] = (LockWait) {
				.number = (int) i, .slot = PGPROC_NUMBER(SESSION_OF(proc)), .pid = SESSION_OF(proc)->pid,
				.since = (TimestampTz) pg_atomic_read_u64(&proc->waitStart),
				.behind = NOT_WALKED, .root = LOCK_WAIT_UNKNOWN, .root_pid = LOCK_WAIT_UNKNOWN
			};
	}
	return n;
}

static int
compare_numbers(const void *a, const void *b)
{
	return ((const LockWait *) a)->number - ((const LockWait *) b)->number;
}

/* The row of a process; NULL if it waits for no lock, or there was no room for it. */
static LockWait *
row_of(LockWait *waits, int n, const PGPROC *proc)
{
	LockWait	key = {.number = PGPROC_NUMBER(proc)};

	return proc->waitLock != NULL ? bsearch(&key, waits, n, sizeof(LockWait), compare_numbers) : NULL;
}

/* The member of the session that waits for a lock; NULL if none does. */
static PGPROC *
waiting_member(PGPROC *session)
{
	dlist_iter	iter;

	if (session->waitLock != NULL)
		return session;
	dlist_foreach(iter, &session->lockGroupMembers)
	{
		PGPROC	   *member = dlist_container(PGPROC, lockGroupLink, iter.cur);

		if (member->waitLock != NULL)
			return member;
	}
	return NULL;
}

static void
mode_sessions_add(ModeSessions *sessions, PGPROC *session, LOCKMASK modes)
{
	for (LOCKMODE mode = 1; mode < MAX_LOCKMODES; mode++)
		for (int i = 0; i < 2 && (modes & LOCKBIT_ON(mode)) && sessions->of[mode][i] != session; i++)
			if (sessions->of[mode][i] == NULL)
				sessions->of[mode][i] = session;
}

/*
 * Returns a session of one of the modes that is not "self", one that waits for no lock if
 * there is one; NULL if there is none.
 */
static PGPROC *
mode_sessions_find(const ModeSessions *sessions, LOCKMASK modes, const PGPROC *self, bool *several)
{
	PGPROC	   *found = NULL;

	for (LOCKMODE mode = 1; mode < MAX_LOCKMODES; mode++)
		for (int i = 0; i < 2 && (modes & LOCKBIT_ON(mode)); i++)
		{
			PGPROC	   *session = sessions->of[mode][i];

			if (session == NULL || session == self || session == found)
				continue;
			*several = found != NULL;
			if (found == NULL || waiting_member(found) != NULL)
				found = session;
		}
	return found;
}

/* Says of a row which session is in front of it. */
static void
wait_set_front(LockWait *waits, int n, LockWait *wait, PGPROC *front)
{
	PGPROC	   *member = front != NULL ? waiting_member(front) : NULL;
	LockWait   *row = member != NULL ? row_of(waits, n, member) : NULL;

	wait->behind = row != NULL ? (int) (row - waits) : LOCK_WAIT_UNKNOWN;
	if (front != NULL && member == NULL)
	{
		wait->root = PGPROC_NUMBER(front);
		wait->root_pid = front->pid;
	}
}

/* Walks the holders and the queue of a lock: finds what is in front of all that wait for it. */
static void
lock_walk(LockWait *waits, int n, LOCK *lock)
{
	const LOCKMASK *conflicts = GetLocksMethodTable(lock)->conflictTab;
	ModeSessions holders = {{{NULL}}};
	ModeSessions ahead = {{{NULL}}};

	compat_foreach_holder(holder, lock)
		mode_sessions_add(&holders, compat_holder(holder)->groupLeader, compat_holder(holder)->holdMask);
	compat_foreach_waiter(waiter, lock)
	{
		PGPROC	   *proc = compat_waiter(waiter);
		LockWait   *wait = row_of(waits, n, proc);
		LOCKMASK	modes = conflicts[proc->waitLockMode];
		bool		several = false;
		PGPROC	   *front = mode_sessions_find(&holders, modes, SESSION_OF(proc), &several);

		if (wait != NULL)
		{
			bool		ignored;

			wait->several = several;
			wait_set_front(waits, n, wait, front != NULL ? front
						   : mode_sessions_find(&ahead, modes, SESSION_OF(proc), &ignored));
		}
		mode_sessions_add(&ahead, SESSION_OF(proc), LOCKBIT_ON(proc->waitLockMode));
	}
}

/* Follows the chain of a row to its head; in a deadlock there is none. */
static void
wait_follow(const LockWait *waits, int n, LockWait *wait)
{
	const LockWait *head = wait;

	for (int i = 0; i < n && head->behind >= 0; i++)
	{
		head = &waits[head->behind];
		wait->several |= head->several;
		if (head->root >= 0)
			break;
	}
	wait->root = head->root;
	wait->root_pid = head->root_pid;
}

/* PostgreSQL may leave the start of an earlier wait there for a moment; no wait is older than its statement. */
static void
wait_correct_since(LockWait *wait)
{
	Slot		slot;

	if (wait->since != 0 && slot_read(wait->slot, &slot) && slot.pid == wait->pid && slot.started != 0)
		wait->since = Max(wait->since, slot.state_since);
}

int
lock_waits_read(LockWait *waits, int max)
{
	int			n;

	if (!some_process_waits())
		return 0;
	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
		LWLockAcquire(LockHashPartitionLockByIndex(i), LW_SHARED);
	n = waits_collect(waits, max);
	for (int i = 0; i < n; i++)
		if (waits[i].behind == NOT_WALKED)
			lock_walk(waits, n, ProcGlobal->allProcs[waits[i].number].waitLock);
	for (int i = NUM_LOCK_PARTITIONS; --i >= 0;)
		LWLockRelease(LockHashPartitionLockByIndex(i));
	for (int i = 0; i < n; i++)
	{
		wait_follow(waits, n, &waits[i]);
		wait_correct_since(&waits[i]);
	}
	return n;
}

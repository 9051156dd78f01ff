/*
 * run_table.c
 *		The run table in shared memory: claim an entry, wait for its run, ask the
 *		run to stop.
 *
 * An entry belongs to its runner from the launch to the verdict.  Its ticket
 * changes with each claim, so a waiter notices when the entry is another run's.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "event/loop.h"
#include "request/lock_wait.h"
#include "request/run_table.h"
#include "scenario/list.h"
#include "shmem/run_pool.h"
#include "target/target.h"

/* How often a waiting backend checks its own client connection. */
#define CLIENT_CHECK_MS		1000
#define ABANDON_TIMEOUT_MS	(30 * 1000)

/* A clean-up that waits for no lock may take this long. */
#define SLOW_STEP_US		(5 * 1000 * 1000)

static RunEntry *
run_entry_of(const Claim *claim)
{
	return &shared->runs[claim->number];
}

/* Does it hold connections itself, or do those that it starts? */
static bool
request_holds(const RunRequest *request)
{
	return scenario_has_pools(scenario_find(request->scenario)) && !request_repeats(request);
}

/*
 * A run on the server takes the slots that every other run needs, so it runs
 * alone; so does a run on a foreign server, there.
 */
static bool
requests_collide(const RunRequest *a, const RunRequest *b)
{
	if (!request_holds(a) || !request_holds(b))
		return false;
	return a->server == b->server &&
		(target_types[a->target]->exclusive || target_types[b->target]->exclusive);
}

static const char *
where_alone(const RunRequest *request)
{
	return OidIsValid(request->server) ? request->target_name : "the server";
}

/*
 * ERROR if a run under way excludes this one.  A hold takes no more than it was
 * asked for, so nothing excludes it.  Needs the lock; ERROR releases it.
 */
static void
require_exclusive(const RunRequest *request)
{
	if (request_is_hold(request))
		return;
	for (int i = 0; i < RUNS_MAX; i++)
	{
		const RunEntry *entry = &shared->runs[i];

		if (!run_entry_is_busy(entry) || request_is_hold(&entry->request) || !requests_collide(request, &entry->request))
			continue;
		if (entry->run_id == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("a run on %s is about to begin, and a run on %s must be alone",
							entry->request.target_name, where_alone(request)),
					 errhint("View pool_exhaust_progress shows it in a moment.")));
		else
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("run " INT64_FORMAT " on %s is under way, and a run on %s must be alone",
							entry->run_id, entry->request.target_name, where_alone(request)),
					 errhint("Wait for it with pool_exhaust_wait(" INT64_FORMAT "), or end it with pool_exhaust_stop(" INT64_FORMAT ").",
							 entry->run_id, entry->run_id)));
	}
}

/* The number of the first entry that is neither busy nor claimed, or -1. */
static int
run_entry_find_free(void)
{
	for (int i = 0; i < RUNS_MAX; i++)
		if (!run_entry_is_busy(&shared->runs[i]) && !shared->runs[i].claimed)
			return i;
	return -1;
}

static void
entry_fill(RunEntry *entry, const RunRequest *request)
{
	memset(entry, 0, offsetof(RunEntry, lines));
	entry->state = RUN_STARTING;
	entry->ticket = ++shared->tickets;
	entry->claimed = true;
	entry->database = MyDatabaseId;
	entry->owner = request->owner;
	entry->request = *request;
	entry->hold_id = request_is_hold(request) ? ++shared->holds : 0;
	entry->started_at = GetCurrentTimestamp();
	run_pools_write(entry, NULL, 0);
	pg_atomic_write_u32(&entry->stop, STOP_NONE);
	pg_atomic_write_u32(&entry->done, 0);
	pg_atomic_write_u32(&entry->total, 0);
	pg_atomic_write_u32(&entry->connections, 0);
	/* A run knows its own leaks; those of a hold are for the leak detector. */
	pg_atomic_write_u32(&entry->leak_threshold_ms, request_is_hold(request) ? LEAK_THRESHOLD_SETTING : 0);
	pg_atomic_write_u32(&entry->heal, 0);
	for (int cause = 0; cause < LEDGER_CAUSES; cause++)
		pg_atomic_write_u64(&entry->refused[cause], 0);
}

/* ERROR, as run_entry_claim() would, if a run under way excludes this one. */
void
run_entry_require(const RunRequest *request)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	require_exclusive(request);
	LWLockRelease(shared->lock);
}

Claim
run_entry_claim(const RunRequest *request)
{
	Claim		claim;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	require_exclusive(request);
	claim.number = run_entry_find_free();
	if (claim.number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("%d runs are under way, holds included, and that is the most there can be", RUNS_MAX),
				 errhint("See pool_exhaust_progress and pool_exhaust_holds; end one with pool_exhaust_stop(run_id) or pool_exhaust_release(hold_id).")));
	entry_fill(run_entry_of(&claim), request);
	claim.ticket = run_entry_of(&claim)->ticket;
	LWLockRelease(shared->lock);
	return claim;
}

/* The caller has read the end of its run: the entry may be claimed again. */
void
run_entry_release(const Claim *claim)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	run_entry_of(claim)->claimed = false;
	LWLockRelease(shared->lock);
}

/*
 * There is no runner, and there will be none.  False, and nothing done, if
 * there was one, and it said already that the run began or ended.
 */
bool
run_entry_free(const Claim *claim)
{
	RunEntry   *entry = run_entry_of(claim);
	bool		starting;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	starting = entry->state == RUN_STARTING;
	if (starting)
		entry->state = RUN_FREE;
	LWLockRelease(shared->lock);
	return starting;
}

/*
 * Copies what the waiter wants to know, with the lines that it has not seen
 * yet, one at a time: returns true while there are more.
 */
static bool
run_entry_read(const Claim *claim, RunStatus *view, uint64 *lines_seen, char *line)
{
	RunEntry   *entry = run_entry_of(claim);
	bool		more = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	if (entry->ticket != claim->ticket)
		view->state = RUN_FREE;
	else
	{
		view->state = entry->state;
		view->runner_pid = entry->runner_pid;
		strlcpy(view->phase, entry->phase, NAMEDATALEN);
		view->run_id = entry->run_id;
		view->verdict = entry->verdict;
		view->too_busy = entry->too_busy;
		view->error_code = entry->error_code;
		view->hold_id = entry->hold_id;
		view->held_at = entry->held_at;
		view->closed = entry->closed;
		strlcpy(view->reason, entry->reason, RUN_REASON_LEN);
		if (lines_seen != NULL && *lines_seen < entry->lines_written)
		{
			if (entry->lines_written > RUN_LINES)
				*lines_seen = Max(*lines_seen, entry->lines_written - RUN_LINES);
			strlcpy(line, entry->lines[*lines_seen % RUN_LINES], RUN_LINE_LEN);
			(*lines_seen)++;
			more = true;
		}
	}
	LWLockRelease(shared->lock);
	return more;
}

/* Returns what there is to know of the run at this moment. */
RunStatus
run_entry_view(const Claim *claim)
{
	RunStatus	view = {RUN_FREE};

	(void) run_entry_read(claim, &view, NULL, NULL);
	return view;
}

/* Is the run under way that this ticket was given to? */
bool
run_entry_ticket_is_busy(uint64 ticket)
{
	bool		found = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX && !found; i++)
		found = shared->runs[i].ticket == ticket && run_entry_is_busy(&shared->runs[i]);
	LWLockRelease(shared->lock);
	return found;
}

static void
require_client(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
		ereport(FATAL,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to client lost")));
}

/* What a run that was asked to stop is late for; said again only when that is something else. */
typedef struct Delay
{
	uint64		since_us;		/* 0: it was not asked yet */
	char		said[RUN_LINE_LEN];
} Delay;

/*
 * Reports what keeps a run that was asked to stop: to the client and the log, and
 * without a catalog, which may be what is locked.
 */
static void
delay_report(RunEntry *entry, const RunStatus *view, Delay *delay)
{
	uint64		now_us = loop_now_us();
	char	   *text;

	if (pg_atomic_read_u32(&entry->stop) == STOP_NONE || view->runner_pid == 0)
		return;
	if (delay->since_us == 0)
		delay->since_us = now_us;
	text = lock_wait_text(view->runner_pid);
	if (text == NULL && now_us - delay->since_us >= SLOW_STEP_US)
		text = psprintf("it is in phase \"%s\"", view->phase);
	if (text == NULL || strncmp(text, delay->said, RUN_LINE_LEN - 1) == 0)
		return;
	strlcpy(delay->said, text, RUN_LINE_LEN);
	ereport(WARNING,
			(errmsg("%s " INT64_FORMAT " was asked to end, and has not yet: %s",
					view->hold_id != 0 ? "hold" : "run", view->hold_id != 0 ? view->hold_id : view->run_id, text),
			 errhint("Its runner is process %d: see pg_locks and pg_stat_activity.", view->runner_pid)));
}

/*
 * Waits until the run has reached "wanted" or ended, at most so long.  Relays
 * the progress of the run as notices if "relay" says so.
 */
RunStatus
run_entry_wait(const Claim *claim, RunState wanted, int64 timeout_ms, bool relay)
{
	RunStatus	view = {RUN_STARTING};
	Delay		delay = {0};
	char		line[RUN_LINE_LEN];
	uint64		lines_seen = 0;
	uint64		begun_us = loop_now_us();
	uint32		wait_event = compat_wait_event("PoolExhaustWait");

	ConditionVariablePrepareToSleep(&run_entry_of(claim)->changed);
	for (;;)
	{
		int64		left_ms = timeout_ms - (int64) (loop_now_us() - begun_us) / 1000;

		while (run_entry_read(claim, &view, relay ? &lines_seen : NULL, line))
			ereport(NOTICE, (errmsg_internal("%s", line)));
		if (view.state == RUN_FREE || view.state >= wanted)
			break;
		if (left_ms <= 0)
			break;
		if (ConditionVariableTimedSleep(&run_entry_of(claim)->changed, Min(left_ms, CLIENT_CHECK_MS), wait_event))
		{
			require_client();
			delay_report(run_entry_of(claim), &view, &delay);
		}
	}
	ConditionVariableCancelSleep();
	return view;
}

void
run_entry_stop(const Claim *claim, StopCause cause)
{
	RunEntry   *entry = run_entry_of(claim);
	uint32		none = STOP_NONE;
	PGPROC	   *proc = NULL;

	LWLockAcquire(shared->lock, LW_SHARED);
	if (entry->ticket == claim->ticket && run_entry_is_busy(entry))
	{
		pg_atomic_compare_exchange_u32(&entry->stop, &none, cause);
		proc = entry->runner_pid != 0 ? BackendPidGetProc(entry->runner_pid) : NULL;
	}
	LWLockRelease(shared->lock);
	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

/*
 * The caller is canceled or gone.  A session that ends only says so; one that
 * lives on returns when the run holds nothing any more, and an impatient
 * second cancel does not change that.
 */
void
run_entry_abandon(int code, Datum arg)
{
	const Claim *claim = (const Claim *) DatumGetPointer(arg);

	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	run_entry_release(claim);
	if (proc_exit_inprogress)
	{
		run_entry_stop(claim, STOP_CALLER_LOST);
		return;
	}
	run_entry_stop(claim, STOP_CALLER_CANCELED);
	HOLD_CANCEL_INTERRUPTS();
	(void) run_entry_wait(claim, RUN_ENDED, ABANDON_TIMEOUT_MS, false);
	RESUME_CANCEL_INTERRUPTS();
}

/*
 * Finds the entry of a run of this database that is under way.  Returns false if
 * there is none.
 */
bool
run_entry_find_run(int64 run_id, Claim *claim)
{
	bool		found = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX && !found; i++)
	{
		RunEntry   *entry = &shared->runs[i];

		found = run_entry_is_busy(entry) && !request_is_hold(&entry->request) &&
			entry->run_id == run_id && entry->database == MyDatabaseId;
		if (found)
			*claim = (Claim) {i, entry->ticket};
	}
	LWLockRelease(shared->lock);
	return found;
}

/*
 * Is that run of this database under way, or may it be?  One has begun and does not
 * show its id yet.
 */
bool
run_may_be_under_way(int64 run_id)
{
	bool		found = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX && !found; i++)
	{
		const RunEntry *entry = &shared->runs[i];

		found = run_entry_is_busy(entry) && !request_is_hold(&entry->request) &&
			(entry->run_id == run_id || entry->run_id == 0) && entry->database == MyDatabaseId;
	}
	LWLockRelease(shared->lock);
	return found;
}

/*
 * Finds the runs, or the holds, that are to be ended: all of this database that the
 * caller may end, or the one named, a hold wherever it was made; ERROR if the
 * caller may not end that one.  A run may be ended by the role that started it, and
 * by roles with privileges of pg_signal_backend.  "claims" has room for RUNS_MAX, and
 * "connections", unless it is NULL, too: what each has at this moment.  Returns how
 * many there are.
 */
int
run_entries_to_end(bool holds, bool all, int64 id, Claim *claims, int *connections)
{
	bool		any = has_privs_of_role(GetUserId(), ROLE_PG_SIGNAL_BACKEND);	/* catalogs before locks */
	int			n = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry   *entry = &shared->runs[i];

		if (!run_entry_is_busy(entry) || request_is_hold(&entry->request) != holds ||
			!(all || id == (holds ? entry->hold_id : entry->run_id)) ||
			(entry->database != MyDatabaseId && (all || !holds)))
			continue;
		if (any || entry->owner == GetSessionUserId())
		{
			if (connections != NULL)
				connections[n] = (int) pg_atomic_read_u32(&entry->connections);
			claims[n++] = (Claim) {i, entry->ticket};
		}
		else if (!all)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to %s " INT64_FORMAT, holds ? "release hold" : "stop run", id),
					 errhint("It belongs to another role; roles with privileges of pg_signal_backend may %s it.",
							 holds ? "release" : "stop")));
	}
	LWLockRelease(shared->lock);
	return n;
}

/* This session ends, and the holds that it asked for with it; does not wait. */
void
run_entries_stop_held_by_me(void)
{
	Claim		claims[RUNS_MAX];
	int			n = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry   *entry = &shared->runs[i];
		const HoldRequest *hold = &entry->request.hold;

		if (run_entry_is_busy(entry) && request_is_hold(&entry->request) && !hold->leaked &&
			hold->owner_pid == MyProcPid && hold->owner_started == MyStartTimestamp)
			claims[n++] = (Claim) {i, entry->ticket};
	}
	LWLockRelease(shared->lock);
	for (int i = 0; i < n; i++)
		run_entry_stop(&claims[i], STOP_OWNER_ENDED);
}

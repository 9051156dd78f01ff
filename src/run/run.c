/*
 * run.c
 *		Run control as SQL sees it: run, start, wait, stop, report, and the
 *		views of runs under way.
 *
 * A run belongs to its runner.  The caller's backend checks what can be
 * checked, claims a place in shared memory, launches the runner and then only
 * waits on the place's condition variable.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "load/way.h"
#include "options.h"
#include "preflight.h"
#include "report.h"
#include "results.h"
#include "run.h"
#include "runner.h"
#include "scenario/scenario.h"
#include "shared.h"

/* How often a waiter looks whether its own client is still there. */
#define CLIENT_CHECK_MS		1000
#define ABANDON_TIMEOUT_MS	(30 * 1000)

PG_FUNCTION_INFO_V1(pool_exhaust_run);
PG_FUNCTION_INFO_V1(pool_exhaust_start);
PG_FUNCTION_INFO_V1(pool_exhaust_wait);
PG_FUNCTION_INFO_V1(pool_exhaust_stop);
PG_FUNCTION_INFO_V1(pool_exhaust_report);
PG_FUNCTION_INFO_V1(pool_exhaust_progress_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_scenarios_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_run_roles);

static bool progress = true;

/* One use of a place: the place may be another run's by the time of a look. */
typedef struct Claim
{
	int			place;
	uint64		ticket;
} Claim;

/* What a waiter learns about its run. */
typedef struct RunView
{
	RunState	state;			/* RUN_FREE if the place is another run's now */
	int64		run_id;
	Verdict		verdict;
	int			error_code;
	char		reason[RUN_REASON_LEN];
} RunView;

void
run_init(void)
{
	DefineCustomBoolVariable("pool_exhaust.progress",
							 "Shows the progress of pool_exhaust_run() as notices.",
							 NULL,
							 &progress, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	way_init();
	preflight_init();
	results_init();
}

/* ----- claiming a place ----- */

static RunSlot *
place_of(const Claim *claim)
{
	return &shared->runs[claim->place];
}

static bool
is_under_way(const RunSlot *slot)
{
	return slot->state == RUN_STARTING || slot->state == RUN_RUNNING;
}

/*
 * A run on the server fills what all the others stand on, so it is alone.
 * Needs the lock; ERROR releases it.
 */
static void
require_exclusive(const RunPlan *plan)
{
	for (int i = 0; i < RUNS_MAX; i++)
	{
		const RunSlot *slot = &shared->runs[i];

		if (is_under_way(slot) &&
			(plan->target == TARGET_SERVER || slot->plan.target == TARGET_SERVER))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("run " INT64_FORMAT " on %s is under way, and a run on the server must be alone",
							slot->run_id, target_names[slot->plan.target]),
					 errhint("Wait for it with pool_exhaust_wait(" INT64_FORMAT "), or end it with pool_exhaust_stop(" INT64_FORMAT ").",
							 slot->run_id, slot->run_id)));
	}
}

/* The first place that nobody needs any more, -1 if there is none. */
static int
place_find(void)
{
	for (int i = 0; i < RUNS_MAX; i++)
		if (!is_under_way(&shared->runs[i]) && !shared->runs[i].claimed)
			return i;
	return -1;
}

static void
slot_fill(RunSlot *slot, const RunPlan *plan)
{
	slot->state = RUN_STARTING;
	slot->ticket = ++shared->tickets;
	slot->claimed = true;
	slot->database = MyDatabaseId;
	slot->owner = GetSessionUserId();
	slot->plan = *plan;
	slot->runner_pid = 0;
	slot->run_id = 0;
	slot->role = InvalidOid;
	slot->started_at = GetCurrentTimestamp();
	slot->phase[0] = '\0';
	slot->verdict = VERDICT_NONE;
	slot->error_code = 0;
	slot->reason[0] = '\0';
	slot->lines_written = 0;
	pg_atomic_write_u32(&slot->stop, STOP_NONE);
	pg_atomic_write_u32(&slot->done, 0);
	pg_atomic_write_u32(&slot->total, 0);
	pg_atomic_write_u32(&slot->connections, 0);
}

static Claim
run_claim(const RunPlan *plan)
{
	Claim		claim;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	require_exclusive(plan);
	claim.place = place_find();
	if (claim.place < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("%d runs are under way, and that is the most there can be", RUNS_MAX),
				 errhint("See pool_exhaust_progress; end one with pool_exhaust_stop(run_id).")));
	slot_fill(place_of(&claim), plan);
	claim.ticket = place_of(&claim)->ticket;
	LWLockRelease(shared->lock);
	return claim;
}

/* The caller has learned what it wanted to know. */
static void
run_unclaim(const Claim *claim)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place_of(claim)->claimed = false;
	LWLockRelease(shared->lock);
}

/* There is no runner, and there will be none. */
static void
run_cancel_claim(const Claim *claim)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	place_of(claim)->state = RUN_FREE;
	LWLockRelease(shared->lock);
}

/* ----- waiting ----- */

/*
 * Copies what the waiter wants to know, with the lines that it has not seen
 * yet, one at a time: returns true while there are more.
 */
static bool
run_look(const Claim *claim, RunView *view, uint64 *lines_seen, char *line)
{
	RunSlot    *slot = place_of(claim);
	bool		more = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	if (slot->ticket != claim->ticket)
		view->state = RUN_FREE;
	else
	{
		view->state = slot->state;
		view->run_id = slot->run_id;
		view->verdict = slot->verdict;
		view->error_code = slot->error_code;
		strlcpy(view->reason, slot->reason, RUN_REASON_LEN);
		if (lines_seen != NULL && *lines_seen < slot->lines_written)
		{
			if (slot->lines_written > RUN_LINES)
				*lines_seen = Max(*lines_seen, slot->lines_written - RUN_LINES);
			strlcpy(line, slot->lines[*lines_seen % RUN_LINES], RUN_LINE_LEN);
			(*lines_seen)++;
			more = true;
		}
	}
	LWLockRelease(shared->lock);
	return more;
}

static void
require_client(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
		ereport(FATAL,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("connection to client lost")));
}

/*
 * Waits until the run has reached "wanted" or ended, or until "end".  Relays
 * the progress of the run as notices if "relay" says so.
 */
static RunView
run_wait(const Claim *claim, RunState wanted, TimestampTz end, bool relay)
{
	RunView		view = {RUN_STARTING};
	char		line[RUN_LINE_LEN];
	uint64		lines_seen = 0;
	uint32		wait_event = compat_wait_event("PoolExhaustWait");

	ConditionVariablePrepareToSleep(&place_of(claim)->changed);
	for (;;)
	{
		long		timeout = CLIENT_CHECK_MS;

		while (run_look(claim, &view, relay ? &lines_seen : NULL, line))
			ereport(NOTICE, (errmsg_internal("%s", line)));
		if (view.state == RUN_FREE || view.state >= wanted)
			break;
		if (end != DT_NOEND)
			timeout = Min(timeout, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end));
		if (timeout <= 0)
			break;
		if (ConditionVariableTimedSleep(&place_of(claim)->changed, timeout, wait_event))
			require_client();
	}
	ConditionVariableCancelSleep();
	return view;
}

/* ----- ending ----- */

static void
run_tell_stop(const Claim *claim, StopCause cause)
{
	RunSlot    *slot = place_of(claim);
	uint32		none = STOP_NONE;
	PGPROC	   *proc = NULL;

	LWLockAcquire(shared->lock, LW_SHARED);
	if (slot->ticket == claim->ticket && is_under_way(slot))
	{
		pg_atomic_compare_exchange_u32(&slot->stop, &none, cause);
		proc = slot->runner_pid != 0 ? BackendPidGetProc(slot->runner_pid) : NULL;
	}
	LWLockRelease(shared->lock);
	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

/*
 * The caller is canceled or gone.  A session that ends only says so; one that
 * lives on returns when the run holds nothing any more.
 */
static void
run_abandon(int code, Datum arg)
{
	const Claim *claim = (const Claim *) DatumGetPointer(arg);

	LWLockReleaseAll();
	ConditionVariableCancelSleep();
	run_unclaim(claim);
	if (proc_exit_inprogress)
	{
		run_tell_stop(claim, STOP_CALLER_LOST);
		return;
	}
	run_tell_stop(claim, STOP_CALLER_CANCELED);
	run_wait(claim, RUN_ENDED,
			 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ABANDON_TIMEOUT_MS), false);
}

/* ----- launching ----- */

static void
require_launched(const Claim *claim, BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	if (handle == NULL)
	{
		run_cancel_claim(claim);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker is free for the run"),
				 errdetail("max_worker_processes is %d.", max_worker_processes),
				 errhint("Raise max_worker_processes and restart the server, or wait until other workers have ended.")));
	}
	if (WaitForBackgroundWorkerStartup(handle, &pid) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("the postmaster has died")));
}

/* Launches the runner and returns when the run has an id. */
static RunView
run_launch(const Claim *claim)
{
	RunView		view;

	require_launched(claim, runner_launch(claim->place));
	view = run_wait(claim, RUN_RUNNING, DT_NOEND, false);
	if (view.run_id == 0)
		ereport(ERROR,
				(errcode(view.error_code != 0 ? view.error_code : ERRCODE_INTERNAL_ERROR),
				 errmsg("the run could not start: %s",
						view.reason[0] != '\0' ? view.reason : "its runner is gone"),
				 errhint("If the extension was created in this transaction, commit it first; otherwise see the server log.")));
	return view;
}

static void
require_not_null(FunctionCallInfo fcinfo, int n, const char *name, const char *hint)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("%s", hint)));
}

static char *
scenarios_hint(void)
{
	StringInfoData hint;

	initStringInfo(&hint);
	appendStringInfoString(&hint, "Scenarios are: ");
	for (int i = 0; i < nscenarios; i++)
		appendStringInfo(&hint, "%s%s", i > 0 ? ", " : "", scenarios[i].name);
	appendStringInfoString(&hint, ".  View pool_exhaust_scenarios describes them.");
	return hint.data;
}

static const Scenario *
scenario_arg(FunctionCallInfo fcinfo, int n)
{
	const Scenario *scenario;
	char	   *name;

	require_not_null(fcinfo, n, "scenario", scenarios_hint());
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	scenario = scenario_find(name);
	if (scenario == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("scenario \"%s\" does not exist", name),
				 errhint("%s", scenarios_hint())));
	return scenario;
}

static ReportFormat
format_arg(FunctionCallInfo fcinfo, int n)
{
	require_not_null(fcinfo, n, "format", "Leave it out for text.");
	return report_format_find(text_to_cstring(PG_GETARG_TEXT_PP(n)));
}

/* Arguments 0 to 2 of run and start: scenario, target, options. */
static void
plan_from_args(FunctionCallInfo fcinfo, RunPlan *plan)
{
	const Scenario *scenario;

	memset(plan, 0, sizeof(*plan));
	scenario = scenario_arg(fcinfo, 0);
	strlcpy(plan->scenario, scenario->name, NAMEDATALEN);
	plan->target = PG_ARGISNULL(1) ? scenario->default_target
		: target_find(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	require_not_null(fcinfo, 2, "options", "Leave it out, or give an empty object.");
	options_parse(PG_GETARG_JSONB_P(2), &plan->options);
}

/* ----- SQL ----- */

static void
require_pass(const RunPlan *plan, const RunView *view)
{
	if (plan->options.on_fail != ON_FAIL_ERROR || view->verdict == VERDICT_PASS)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ASSERT_FAILURE),
			 errmsg("run " INT64_FORMAT " of scenario \"%s\" on %s: %s", view->run_id,
					plan->scenario, target_names[plan->target], verdict_names[view->verdict]),
			 errdetail("%s", report_failures(view->run_id)),
			 errhint("SELECT pool_exhaust_report(" INT64_FORMAT ") shows the whole report.", view->run_id)));
}

Datum
pool_exhaust_run(PG_FUNCTION_ARGS)
{
	RunPlan		plan;
	ReportFormat format;
	Claim		claim;
	RunView		view;

	preflight_server();
	plan_from_args(fcinfo, &plan);
	format = format_arg(fcinfo, 3);
	preflight_plan(&plan);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	claim = run_claim(&plan);
	PG_ENSURE_ERROR_CLEANUP(run_abandon, PointerGetDatum(&claim));
	{
		run_launch(&claim);
		view = run_wait(&claim, RUN_ENDED, DT_NOEND, progress);
	}
	PG_END_ENSURE_ERROR_CLEANUP(run_abandon, PointerGetDatum(&claim));
	run_unclaim(&claim);

	require_pass(&plan, &view);
	report_put((ReturnSetInfo *) fcinfo->resultinfo, view.run_id, format);
	return (Datum) 0;
}

Datum
pool_exhaust_start(PG_FUNCTION_ARGS)
{
	RunPlan		plan;
	Claim		claim;
	RunView		view;

	preflight_server();
	plan_from_args(fcinfo, &plan);
	preflight_plan(&plan);

	claim = run_claim(&plan);
	PG_ENSURE_ERROR_CLEANUP(run_abandon, PointerGetDatum(&claim));
	{
		view = run_launch(&claim);
	}
	PG_END_ENSURE_ERROR_CLEANUP(run_abandon, PointerGetDatum(&claim));
	run_unclaim(&claim);
	PG_RETURN_INT64(view.run_id);
}

/* Finds the place of a run of this database that is under way. */
static bool
run_find(int64 run_id, Claim *claim)
{
	bool		found = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX && !found; i++)
	{
		RunSlot    *slot = &shared->runs[i];

		found = is_under_way(slot) && slot->run_id == run_id && slot->database == MyDatabaseId;
		if (found)
			*claim = (Claim) {i, slot->ticket};
	}
	LWLockRelease(shared->lock);
	return found;
}

static TimestampTz
end_after(const Interval *interval)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
															  TimestampTzGetDatum(now),
															  PointerGetDatum(interval)));

	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("NULL waits as long as the run takes.")));
	return end;
}

Datum
pool_exhaust_wait(PG_FUNCTION_ARGS)
{
	TimestampTz end = DT_NOEND;
	int64		run_id;
	Claim		claim;
	char	   *verdict;

	shared_require();
	require_not_null(fcinfo, 0, "run_id", "Table pool_exhaust_runs lists the runs.");
	run_id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		end = end_after(PG_GETARG_INTERVAL_P(1));

	if (run_find(run_id, &claim))
	{
		RunView		view = run_wait(&claim, RUN_ENDED, end, false);

		if (view.state == RUN_ENDED)
			PG_RETURN_TEXT_P(cstring_to_text(verdict_names[view.verdict]));
		if (view.state != RUN_FREE)
			PG_RETURN_NULL();
	}
	if (!report_verdict(run_id, &verdict))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " left no verdict", run_id),
				 errhint("The server log says why its results could not be written.")));
	PG_RETURN_TEXT_P(cstring_to_text(verdict));
}

/* A run may be stopped by whoever started it, and by those who may signal. */
static bool
may_stop(const RunSlot *slot)
{
	return slot->owner == GetSessionUserId() || superuser() ||
		has_privs_of_role(GetUserId(), ROLE_PG_SIGNAL_BACKEND);
}

/* The runs to stop; ERROR if one was named that the caller may not stop. */
static int
runs_to_stop(bool all, int64 run_id, Claim *claims)
{
	int			n = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunSlot    *slot = &shared->runs[i];

		if (!is_under_way(slot) || slot->database != MyDatabaseId ||
			!(all || slot->run_id == run_id))
			continue;
		if (may_stop(slot))
			claims[n++] = (Claim) {i, slot->ticket};
		else if (!all)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to stop run " INT64_FORMAT, run_id),
					 errhint("It belongs to another role; roles with privileges of pg_signal_backend may stop it.")));
	}
	LWLockRelease(shared->lock);
	return n;
}

Datum
pool_exhaust_stop(PG_FUNCTION_ARGS)
{
	Claim		claims[RUNS_MAX];
	int			n;

	shared_require();
	n = runs_to_stop(PG_ARGISNULL(0), PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0), claims);
	for (int i = 0; i < n; i++)
		run_tell_stop(&claims[i], STOP_REQUESTED);
	for (int i = 0; i < n; i++)
		run_wait(&claims[i], RUN_ENDED, DT_NOEND, false);
	PG_RETURN_INT32(n);
}

Datum
pool_exhaust_report(PG_FUNCTION_ARGS)
{
	ReportFormat format = format_arg(fcinfo, 1);
	int64		run_id = PG_ARGISNULL(0) ? report_latest() : PG_GETARG_INT64(0);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	report_put((ReturnSetInfo *) fcinfo->resultinfo, run_id, format);
	return (Datum) 0;
}

/* The rows of view pool_exhaust_progress. */
Datum
pool_exhaust_progress_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunSlot		slot;
		Datum		values[8];
		bool		nulls[8] = {false};
		int			n = 0;

		LWLockAcquire(shared->lock, LW_SHARED);
		memcpy(&slot, &shared->runs[i], offsetof(RunSlot, lines_written));
		LWLockRelease(shared->lock);
		if (!is_under_way(&slot))
			continue;
		nulls[0] = slot.run_id == 0;
		values[n++] = Int64GetDatum(slot.run_id);
		values[n++] = CStringGetTextDatum(slot.plan.scenario);
		values[n++] = CStringGetTextDatum(target_names[slot.plan.target]);
		values[n++] = CStringGetTextDatum(slot.phase);
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].done));
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].total));
		values[n++] = TimestampTzGetDatum(slot.started_at);
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].connections));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The login roles of runs under way, for the views that show a run_id. */
Datum
pool_exhaust_run_roles(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		Datum		values[2];
		bool		nulls[2] = {false};
		Oid			role;

		LWLockAcquire(shared->lock, LW_SHARED);
		role = shared->runs[i].role;
		values[0] = Int64GetDatum(shared->runs[i].run_id);
		LWLockRelease(shared->lock);
		values[1] = ObjectIdGetDatum(role);
		if (OidIsValid(role))
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_scenarios. */
Datum
pool_exhaust_scenarios_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < nscenarios; i++)
	{
		const Scenario *s = &scenarios[i];
		bool		nulls[5] = {false};
		Datum		values[] = {
			CStringGetTextDatum(s->name),
			CStringGetTextDatum(s->summary),
			CStringGetTextDatum(target_names[s->default_target]),
			CStringGetTextDatum(s->effect),
			DirectFunctionCall1(jsonb_in, CStringGetDatum(options_describe())),
		};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * hold.c
 *		Connections held and leaked by hand, as SQL sees them: hold, leak,
 *		release.
 *
 * A hold has a runner of its own, like a run.  The caller's backend checks what
 * can be checked and waits until all connections are held; from then on the
 * runner keeps them, until it is told to let go, its time is over, or the
 * session that asked for them is no more.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/hold.h"
#include "api/launch.h"
#include "base/compat.h"
#include "observe/monitor/leak_detector.h"
#include "request/options.h"
#include "request/preflight.h"
#include "request/run_table.h"
#include "request/target.h"
#include "scenario/hold.h"

#define CONNECTIONS_MAX 262143	/* as of max_connections */

PG_FUNCTION_INFO_V1(pool_exhaust_hold);
PG_FUNCTION_INFO_V1(pool_exhaust_leak);
PG_FUNCTION_INFO_V1(pool_exhaust_release);

/* ---------- The session that asks ---------- */

/* before_shmem_exit: its holds end with it. */
static void
owner_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	places_stop_held_by_me();
}

static void
owner_sign(HoldPlan *plan)
{
	static bool registered = false;

	plan->owner_pid = MyProcPid;
	plan->owner_number = (int) (MyProc - ProcGlobal->allProcs);
	plan->owner_started = MyStartTimestamp;
	if (!registered)
		before_shmem_exit(owner_exit, (Datum) 0);
	registered = true;
}

/*
 * For the runner: false if the hold is to end with the session that asked for
 * it, and that is no more.  It looks for itself, because nobody says so if that
 * session ends in a hurry.
 */
bool
hold_owner_is_there(const HoldPlan *plan)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[plan->owner_number];
	PgBackendStatus *status;

	if (plan->leaked)
		return true;
	if (((volatile PGPROC *) proc)->procLatch.owner_pid != plan->owner_pid)
		return false;
	/* The pid may be another process's by now, and that in the same place. */
	status = compat_backend_status(proc);
	return status == NULL ||
		((volatile PgBackendStatus *) status)->st_proc_start_timestamp == plan->owner_started;
}

/* ---------- The end, as the runner tells it ---------- */

/* Whoever releases the hold learns how many connections that closes. */
void
hold_end_begins(RunSlot *slot)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->closed = (int) pg_atomic_read_u32(&slot->connections);
	LWLockRelease(shared->lock);
}

/* Nobody waits for the end of a hold, as a rule, so the log has it. */
void
hold_log_end(const Run *run)
{
	if (run->verdict == VERDICT_FAIL)
		ereport(WARNING,
				(errmsg("pool_exhaust: the clean-up of hold " INT64_FORMAT " could not be proved: %s",
						run->slot->hold_id, run->reason)));
	else if (run->slot->held_at != 0)
		ereport(LOG,
				(errmsg("pool_exhaust: hold " INT64_FORMAT " has ended: %s",
						run->slot->hold_id, run->reason)));
}

/* ---------- Arguments ---------- */

static char *
kinds_hint(bool leaks)
{
	StringInfoData hint;

	initStringInfo(&hint);
	appendStringInfo(&hint, "%s are: ", leaks ? "Kinds" : "States");
	for (int i = 0; i < HOLD_STATES; i++)
		if (leaks || !hold_kinds[i].only_leaks)
			appendStringInfo(&hint, "%s%s", i > 0 ? ", " : "", hold_kinds[i].name);
	appendStringInfoChar(&hint, '.');
	return hint.data;
}

/* The state of a hold, or the kind of a leak. */
static HoldState
kind_arg(FunctionCallInfo fcinfo, int n, bool leaks)
{
	const char *what = leaks ? "kind" : "state";
	char	   *name;

	arg_require(fcinfo, n, what, kinds_hint(leaks));
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	for (int i = 0; i < HOLD_STATES; i++)
		if (strcmp(hold_kinds[i].name, name) == 0 && (leaks || !hold_kinds[i].only_leaks))
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s \"%s\" does not exist", what, name),
			 errhint("%s", kinds_hint(leaks))));
}

static int
connections_arg(FunctionCallInfo fcinfo, int n, HoldState state)
{
	int			least = state == HOLD_GROWTH ? leak_growth_min(MaxConnections) : 1;
	int			connections;

	arg_require(fcinfo, n, "connections", "Say how many connections are to be held.");
	connections = PG_GETARG_INT32(n);
	if (connections < least || connections > CONNECTIONS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"connections\" is %d, outside the bounds %d to %d",
						connections, least, CONNECTIONS_MAX),
				 least > 1
				 ? errhint("Fewer are no growth on a server with %d slots: see docs/leaks.md.", MaxConnections)
				 : errhint("View pool_exhaust_slots tells how many slots there are.")));
	return connections;
}

/* Stalled logins take reserved slots too, so nobody may get them by mistake. */
static void
require_reserved(HoldState state, const Options *options)
{
	bool		stalls = hold_kinds[state].stalls;

	if (stalls && options->reserved == RESERVED_TAKE && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to take reserved slots"),
				 errdetail("\"%s\" takes them too, and can lock superusers out.", hold_kinds[state].name),
				 errhint("Only superusers may.")));
	if (stalls == (options->reserved == RESERVED_TAKE))
		return;
	if (stalls)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" takes reserved slots too, and can lock superusers out", hold_kinds[state].name),
				 errdetail("The server looks at its reserves after authentication, which such a login never passes."),
				 errhint("Give option \"reserved\" the value \"take\" if that may be; authentication_timeout ends it.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("options contradict each other: \"%s\" cannot take reserved slots", hold_kinds[state].name),
			 errhint("Leave option \"reserved\" out; it is for \"%s\".", hold_kinds[HOLD_AUTHENTICATING].name)));
}

/*
 * Sessions of a growth come on occasions of their own.  ERROR if that takes more
 * time than there is.
 */
static void
require_spacing(const HoldPlan *hold, Options *options)
{
	int64		ms;

	if (options->spacing_ms == 0)
		options->spacing_ms = leak_growth_spacing_ms(leak_threshold);
	ms = (hold->connections - 1) * options->spacing_ms;
	if (hold->state == HOLD_GROWTH && ms >= options->timeout_ms)
		options_contradict("Raise timeout_ms, and setting pool_exhaust.max_hold_time, or lower spacing_ms.",
						   "opening %d connections takes more than " INT64_FORMAT " ms, and may take " INT64_FORMAT,
						   hold->connections, ms, options->timeout_ms);
}

/* The arguments of hold and leak, in the order in which those have them. */
static void
plan_from_args(FunctionCallInfo fcinfo, bool leaks, RunPlan *plan)
{
	int			kind = leaks ? 1 : 2;
	int			target = leaks ? 2 : 1;
	HoldPlan   *hold = &plan->hold;

	memset(plan, 0, sizeof(*plan));
	plan->owner = GetSessionUserId();
	strlcpy(plan->scenario, scenario_hold.name, NAMEDATALEN);
	hold->leaked = leaks;
	hold->state = kind_arg(fcinfo, kind, leaks);
	hold->connections = connections_arg(fcinfo, 0, hold->state);
	arg_require(fcinfo, target, "target", "Leave it out for server.");
	target_find(text_to_cstring(PG_GETARG_TEXT_PP(target)), plan);
	target_require(&scenario_hold, plan);
	arg_require(fcinfo, 3, "options", "Leave it out, or give an empty object.");
	options_parse(PG_GETARG_JSONB_P(3), &scenario_hold, plan->target, &plan->options);
	require_reserved(hold->state, &plan->options);
	plan->options.bystanders = BYSTANDERS_IGNORE;
}

/* ---------- Hold ---------- */

/* ERROR with what the runner says, unless all connections were held. */
static void
require_held_all(const HoldPlan *plan, const RunView *view)
{
	bool		full = view->error_code == ERRCODE_TOO_MANY_CONNECTIONS;
	bool		unready = view->error_code == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

	if (view->held_at != 0)
		return;
	ereport(ERROR,
			(errcode(view->error_code != 0 ? view->error_code : ERRCODE_INTERNAL_ERROR),
			 errmsg("could not hold %s: %s", hold_sessions_text(plan),
					view->reason[0] != '\0' ? view->reason : "the runner is gone"),
			 full ? errdetail("What was opened so far is closed again.") : 0,
			 full ? errhint(HOLD_ROOM_HINT) :
			 unready ? errhint("If the extension was created in this transaction, commit it first.") : 0));
}

static int64
hold_begin(FunctionCallInfo fcinfo, bool leaks)
{
	RunPlan		plan;
	Claim		claim;
	RunView		view;

	preflight_server("connections cannot be held", "A hold makes a login role.");
	plan_from_args(fcinfo, leaks, &plan);
	preflight_hold(&plan);
	require_spacing(&plan.hold, &plan.options);
	owner_sign(&plan.hold);

	claim = place_claim(&plan);
	PG_ENSURE_ERROR_CLEANUP(place_abandon, PointerGetDatum(&claim));
	{
		(void) call_launch(&claim);
		view = place_wait(&claim, RUN_RUNNING, DT_NOEND, false);
	}
	PG_END_ENSURE_ERROR_CLEANUP(place_abandon, PointerGetDatum(&claim));
	place_release(&claim);
	require_held_all(&plan.hold, &view);
	return view.hold_id;
}

Datum
pool_exhaust_hold(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(hold_begin(fcinfo, false));
}

Datum
pool_exhaust_leak(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(hold_begin(fcinfo, true));
}

/* ---------- Release ---------- */

/* Waits for the end of a hold; returns how many connections that has closed. */
static int
release_wait(const Claim *claim, int connections)
{
	RunView		view = place_wait(claim, RUN_ENDED, DT_NOEND, false);

	if (view.state == RUN_ENDED && view.verdict == VERDICT_FAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", view.reason),
				 errhint("End them with pg_terminate_backend(pid).")));

	/* The place may be another one's already. */
	return view.state == RUN_ENDED ? view.closed : connections;
}

Datum
pool_exhaust_release(PG_FUNCTION_ARGS)
{
	bool		all = PG_ARGISNULL(0);
	int64		hold_id = all ? 0 : PG_GETARG_INT64(0);
	Claim		claims[RUNS_MAX];
	int			connections[RUNS_MAX];
	int			closed = 0;
	int			n;

	shared_require();
	n = places_to_release(all, hold_id, claims, connections);
	if (n == 0 && !all)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("hold " INT64_FORMAT " does not exist", hold_id),
				 errhint("View pool_exhaust_holds lists the holds.")));
	for (int i = 0; i < n; i++)
		place_stop(&claims[i], STOP_RELEASED);
	for (int i = 0; i < n; i++)
		closed += release_wait(&claims[i], connections[i]);
	PG_RETURN_INT32(closed);
}

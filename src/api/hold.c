/*
 * hold.c
 *		Connections held and leaked by hand, as SQL sees them: hold, leak,
 *		release.
 *
 * A hold has a runner of its own, like a run.  The caller's backend checks what
 * can be checked and waits until all connections are held; from then on the
 * runner keeps them, until they are released, their time is over, or the
 * session that asked for them is no more.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"

#include "api/launch.h"
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
	run_entries_stop_held_by_me();
}

static void
owner_sign(HoldRequest *request)
{
	static bool registered = false;

	request->owner_pid = MyProcPid;
	request->owner_number = (int) (MyProc - ProcGlobal->allProcs);
	request->owner_started = MyStartTimestamp;
	if (!registered)
		before_shmem_exit(owner_exit, (Datum) 0);
	registered = true;
}

/* ---------- Arguments ---------- */

/* Each of them can be leaked, too. */
static bool
is_state(const HoldKind *kind)
{
	return !kind->only_leaks;
}

static bool
is_stalled(const HoldKind *kind)
{
	return kind->stalls;
}

static char *
kinds_hint(bool leaks)
{
	return psprintf("%s are: %s.", leaks ? "Kinds" : "States", hold_kinds_text(leaks ? NULL : is_state));
}

/* Returns the number of the kind that is named as the state of a hold, or the kind of a leak. */
static int
kind_arg(FunctionCallInfo fcinfo, int n, bool leaks)
{
	const char *what = leaks ? "kind" : "state";
	char	   *name;

	arg_require(fcinfo, n, what, kinds_hint(leaks));
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	for (int i = 0; i < nhold_kinds; i++)
		if (strcmp(hold_kinds[i].name, name) == 0 && (leaks || is_state(&hold_kinds[i])))
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s \"%s\" does not exist", what, name),
			 errhint("%s", kinds_hint(leaks))));
}

static int
connections_arg(FunctionCallInfo fcinfo, int n, const HoldKind *kind)
{
	int			least = kind->grows ? leak_growth_min(MaxConnections) : 1;
	int			connections;

	arg_require(fcinfo, n, "connections", "Say how many connections are to be held.");
	connections = PG_GETARG_INT32(n);
	if (connections < least || connections > CONNECTIONS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"connections\" is %d, outside the bounds %d to %d",
						connections, least, CONNECTIONS_MAX),
				 least > 1
				 ? errhint("Fewer are no growth on a server with %d slots: see rule growth in view pool_exhaust_leak_rules.", MaxConnections)
				 : errhint("View pool_exhaust_slots shows how many slots there are.")));
	return connections;
}

/* Stalled logins take reserved slots too, so they must be asked for explicitly. */
static void
require_reserved(const HoldKind *kind, Reserved reserved)
{
	bool		stalls = kind->stalls;

	if (stalls && reserved == RESERVED_TAKE && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to take reserved slots"),
				 errdetail("\"%s\" takes them too, and can lock superusers out.", kind->name),
				 errhint("Only superusers may.")));
	if (stalls == (reserved == RESERVED_TAKE))
		return;
	if (stalls)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" takes reserved slots too, and can lock superusers out", kind->name),
				 errdetail("The server checks its reserves after authentication, which such a login never completes."),
				 errhint("Give option \"reserved\" the value \"take\" if that may be; authentication_timeout ends it.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("options contradict each other: \"%s\" cannot take reserved slots", kind->name),
			 errhint("Leave option \"reserved\" out; it is for \"%s\".", hold_kinds_text(is_stalled))));
}

/*
 * Sessions of a growth come on occasions of their own.  ERROR if that takes more
 * time than there is.
 */
static void
require_spacing(const HoldRequest *hold, const Options *options)
{
	int64		ms = (hold->connections - 1) * options->spacing_ms;

	if (hold_kinds[hold->kind].grows && ms >= options->timeout_ms)
		options_contradict("Raise timeout_ms, and setting pool_exhaust.max_hold_time, or lower spacing_ms.",
						   "opening %d connections takes more than " INT64_FORMAT " ms, and may take " INT64_FORMAT,
						   hold->connections, ms, options->timeout_ms);
}

/* The arguments of hold and leak, in the order in which those have them. */
static void
request_from_args(FunctionCallInfo fcinfo, bool leaks, RunRequest *request)
{
	int			kind = leaks ? 1 : 2;
	int			target = leaks ? 2 : 1;
	HoldRequest *hold = &request->hold;

	memset(request, 0, sizeof(*request));
	request->owner = GetSessionUserId();
	strlcpy(request->scenario, scenario_hold.name, NAMEDATALEN);
	hold->leaked = leaks;
	hold->kind = kind_arg(fcinfo, kind, leaks);
	hold->connections = connections_arg(fcinfo, 0, &hold_kinds[hold->kind]);
	arg_require(fcinfo, target, "target", "Leave it out for server.");
	target_find(text_to_cstring(PG_GETARG_TEXT_PP(target)), request);
	target_require(&scenario_hold, request);
	arg_require(fcinfo, 3, "options", "Leave it out, or give an empty object.");
	request->asked = options_parse(PG_GETARG_JSONB_P(3), &scenario_hold);
	request->time_max_ms = PG_INT64_MAX;
	require_reserved(&hold_kinds[hold->kind], (Reserved) request->asked.values.reserved);
}

/* ---------- Hold ---------- */

/* ERROR with what the runner says, unless all connections were held. */
static void
require_held_all(const HoldRequest *request, const RunStatus *view)
{
	bool		full = view->error_code == ERRCODE_TOO_MANY_CONNECTIONS;
	bool		unready = view->error_code == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

	if (view->held_at != 0)
		return;
	ereport(ERROR,
			(errcode(view->error_code != 0 ? view->error_code : ERRCODE_INTERNAL_ERROR),
			 errmsg("could not hold %s: %s", hold_sessions_text(request),
					view->reason[0] != '\0' ? view->reason : "the runner is gone"),
			 full ? errdetail("What was opened so far is closed again.") : 0,
			 full ? errhint(HOLD_ROOM_HINT) :
			 unready ? errhint("If the extension was created in this transaction, commit it first.") : 0));
}

static int64
hold_begin(FunctionCallInfo fcinfo, bool leaks)
{
	RunRequest	request;
	RunStatus	view;
	Options		options;

	preflight_server("connections cannot be held", "A hold makes a login role.");
	request_from_args(fcinfo, leaks, &request);
	preflight_hold(&request);
	options = options_in_force(&request, &scenario_hold);
	require_spacing(&request.hold, &options);
	owner_sign(&request.hold);

	view = run_launch(&request, RUN_RUNNING, false);
	require_held_all(&request.hold, &view);
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
	RunStatus	view = run_entry_wait(claim, RUN_ENDED, NO_TIMEOUT, false);

	if (view.state == RUN_ENDED && view.verdict == VERDICT_FAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", view.reason),
				 errhint("End them with pg_terminate_backend(pid).")));

	/* The entry may be another run's already. */
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
	n = run_entries_to_end(true, all, hold_id, claims, connections);
	if (n == 0 && !all)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("hold " INT64_FORMAT " does not exist", hold_id),
				 errhint("View pool_exhaust_holds lists the holds.")));
	for (int i = 0; i < n; i++)
		run_entry_stop(&claims[i], STOP_RELEASED);
	for (int i = 0; i < n; i++)
		closed += release_wait(&claims[i], connections[i]);
	PG_RETURN_INT32(closed);
}

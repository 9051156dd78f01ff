/*
 * preflight.c
 *		Everything that can be refused before anything is touched.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "event/machine.h"
#include "observe/slots/census.h"
#include "observe/slots/limit.h"
#include "request/options.h"
#include "request/preflight.h"
#include "request/workload.h"
#include "scenario/hold.h"
#include "scenario/list.h"
#include "shmem/shared.h"
#include "sql/extension.h"
#include "target/drivers.h"
#include "target/foreign.h"
#include "target/target.h"

static int	max_run_time = 600;
static int	max_hold_time = 600;
static int	max_connections_per_run = 0;

void
preflight_init(void)
{
	DefineCustomIntVariable("pool_exhaust.max_run_time",
							"The longest that a run may take.",
							NULL,
							&max_run_time, 600, 1, 7 * SECS_PER_DAY,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pool_exhaust.max_hold_time",
							"The longest that connections are held by hand.",
							NULL,
							&max_hold_time, 600, 1, 7 * SECS_PER_DAY,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pool_exhaust.max_connections_per_run",
							"The most connections that a run or a hold may hold.",
							"0 sets no limit.",
							&max_connections_per_run, 0, 0, 262143,
							PGC_SUSET, 0, NULL, NULL, NULL);
}

/* ERROR where no run is possible at all, or no hold: "what_cannot", and "why". */
void
preflight_server(const char *what_cannot, const char *why)
{
	Extension	extension;

	shared_require();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("%s while the server is in recovery", what_cannot),
				 errdetail("%s", why),
				 errhint("Run it on the primary; the views work here.")));
	extension_require_current(&extension);
}

static void
require_database(const char *name)
{
	if (name[0] != '\0' &&
		compat_database_aclcheck(get_database_oid(name, false), GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_DATABASE, name);
}

/* ERROR if there is no room for that many connections; "asked" says by what. */
static void
require_room(const TargetType *target, const Census *census, int needed, const char *asked)
{
	int			room = Max(census->capacity - census->in_use, 0);

	if (needed > room)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s, but only %d connections are left", asked, room),
				 errdetail("%d of %d slots that are not reserved are in use.",
						   census->in_use, census->capacity),
				 errhint("Lower %s, or wait until slots are free: see pool_exhaust_slots.",
						 target->limiting)));
}

/* What a workload makes elsewhere could not be dropped with the run's role. */
static void
require_workload(const Options *options)
{
	if (options->workload[0] == '\0')
		return;
	workload_require(options->workload);
	if (options->database[0] != '\0' && get_database_oid(options->database, false) != MyDatabaseId)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options contradict each other: a workload cannot run in another database than this one"),
				 errdetail("What it makes there could not be dropped with the role of the run."),
				 errhint("Connect to database \"%s\", create the extension there, and run the scenario without option \"database\".",
						 options->database)));
}

/* How many connections the run would hold.  ERROR if there are not that many. */
static int
connections_needed(const TargetType *target, const Scenario *scenario, const Options *options,
				   const Census *census)
{
	int			others = scenario->spare_sessions + (scenario->grows ? leak_growth_min(MaxConnections) : 0);
	int			needed;
	char	   *asked = NULL;

	if (!scenario_has_pools(scenario) || target->needed == NULL)
		return 0;
	needed = target->needed(scenario, options, census, others, &asked);
	require_room(target, census, needed, asked);
	return needed;
}

/* "what" would hold them, and what to lower, NULL if there is nothing to. */
static void
require_cap(const char *what, const char *limiting, int needed)
{
	if (max_connections_per_run > 0 && needed > max_connections_per_run)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the %s would hold %d connections, more than the %d of pool_exhaust.max_connections_per_run",
						what, needed, max_connections_per_run),
				 limiting == NULL
				 ? errhint("Raise pool_exhaust.max_connections_per_run, or aim at target role.")
				 : errhint("Raise pool_exhaust.max_connections_per_run, or lower %s.",
						   limiting)));
}

/* ERROR if this machine has not what so many connections take; the runner inherits the limits of this process. */
static void
require_machine(const char *what, int needed, int handshakes)
{
	ScaleNeed	need = {.sessions = needed + handshakes, .handshakes = handshakes};

	machine_require(what, &need);
}

/*
 * ERROR, with the numbers, if this request cannot be met here and now.  Brings
 * time_max_ms down to pool_exhaust.max_run_time, and sets held_max and needed.
 */
void
preflight_run(RunRequest *request)
{
	const Scenario *scenario = scenario_find(request->scenario);
	const TargetType *target = target_types[request->target];
	Options		options;
	Census		census;

	census_take(&census);
	request->time_max_ms = Min(request->time_max_ms, (int64) max_run_time * 1000);
	request->held_max = max_connections_per_run;
	options = options_in_force(request, scenario);
	require_database(options.database);
	if (target->foreign)
		foreign_require(request, scenario, &options);
	drivers_require(request, &options);
	request->needed = connections_needed(target, scenario, &options, &census);
	if (scenario->require != NULL && !target->asked_first)
		scenario->require(&options);
	require_workload(&options);
	require_cap("run", target->limiting, request->needed);
	require_machine("run", request->needed, target->foreign ? 0 : (int) options.handshakes);
	if (scenario_has_pools(scenario) && target->require_alone != NULL)
		target->require_alone(request, &options);
}

/* "5 connections", or "5 connections and 2 beside them"; palloc'd. */
char *
hold_sessions_text(const HoldRequest *request)
{
	int			beside = hold_beside(request);

	return psprintf("%d connection%s%s", request->connections, request->connections == 1 ? "" : "s",
					beside > 0 ? psprintf(" and %d beside", beside) : "");
}

/*
 * How many sessions of the hold would come through, and what would refuse the
 * next.  Of several limits the one that the server checks first decides.
 */
static int
hold_room(const RunRequest *request, const Options *options, Cause *cause)
{
	const char *database = options->database;
	int			room;
	Census		census;

	if (hold_kinds[request->hold.kind].stalls)
	{
		census_take(&census);
		*cause = CAUSE_TOO_MANY_CLIENTS;
		return census.free;
	}
	room = limit_headroom_new(database[0] != '\0' ? get_database_oid(database, false) : MyDatabaseId,
							  cause);
	if (target_types[request->target]->role_limit && options->role_limit <= room)
	{
		room = (int) options->role_limit;
		*cause = CAUSE_ROLE_LIMIT;
	}
	return room;
}

/* ERROR, with the cause and the numbers, if not all of them would come through. */
static void
require_hold_room(const RunRequest *request, const Options *options, int needed)
{
	Cause		cause;
	int			room = hold_room(request, options, &cause);

	if (needed > room)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_CONNECTIONS),
				 errmsg("could not hold %s: %s would refuse after %d",
						hold_sessions_text(&request->hold), cause_kinds[cause].name, room),
				 errdetail("Nothing was opened."),
				 errhint(HOLD_ROOM_HINT)));
}

/* How long it may be held, of what was asked for and what the settings leave of that. */
static int64
hold_time_ms(const RunRequest *request, const Options *options)
{
	int64		max_ms = (int64) max_hold_time * 1000;

	if (options->hold_ms > 0)
		max_ms = Min(max_ms, options->hold_ms);
	if (hold_kinds[request->hold.kind].stalls)
		max_ms = Min(max_ms, (int64) AuthenticationTimeout * 1000);
	return max_ms;
}

static bool
is_anywhere(const HoldKind *kind)
{
	return kind->anywhere;
}

/* ERROR where sessions cannot be held in that state: only this server shows what they wait for. */
static void
require_hold_state(const RunRequest *request)
{
	const HoldKind *kind = &hold_kinds[request->hold.kind];

	if (!kind->anywhere && !target_types[request->target]->activity)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("connections to foreign servers cannot be held in state \"%s\"", kind->name),
				 errhint("States there are: %s.", hold_kinds_text(is_anywhere))));
}

/*
 * ERROR, with the numbers, if these connections cannot be held here and now.
 * Sets the times of the hold.
 */
void
preflight_hold(RunRequest *request)
{
	const TargetType *target = target_types[request->target];
	int			needed = hold_sessions(&request->hold);
	Options		options;

	request->time_max_ms = Min(request->time_max_ms, (int64) max_hold_time * 1000);
	options = options_in_force(request, &scenario_hold);
	request->hold.hold_ms = hold_time_ms(request, &options);
	require_database(options.database);
	require_cap("hold", "connections", needed);
	if (target->foreign)
		foreign_require(request, &scenario_hold, &options);
	require_hold_state(request);
	if (target->own_roles)
		require_hold_room(request, &options, needed);
	require_machine("hold", needed, target->foreign ? 0 : (int) options.handshakes);
}

/*
 * ERROR if this server lets no run have so many connections.  Returns the
 * longest that it may take, in milliseconds.
 */
int64
preflight_drive(int connections)
{
	require_cap("driver", "the number of connections that each driver has by naming more drivers", connections);
	return (int64) max_run_time * 1000;
}

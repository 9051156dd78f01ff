/*
 * preflight.c
 *		Everything that can be refused before anything is touched.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "compat.h"
#include "extension.h"
#include "observe/census.h"
#include "preflight.h"
#include "scenario/scenario.h"
#include "shared.h"
#include "workload.h"

static int	max_run_time = 600;
static int	max_connections_per_run = 0;

void
preflight_init(void)
{
	DefineCustomIntVariable("pool_exhaust.max_run_time",
							"The longest that a run may take.",
							NULL,
							&max_run_time, 600, 1, 7 * SECS_PER_DAY,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pool_exhaust.max_connections_per_run",
							"The most connections that a run may hold.",
							"0 sets no limit.",
							&max_connections_per_run, 0, 0, 262143,
							PGC_SUSET, 0, NULL, NULL, NULL);
}

/* ERROR where no run is possible at all. */
void
preflight_server(void)
{
	Extension	extension;

	shared_require();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("a scenario cannot run while the server is in recovery"),
				 errdetail("A run makes a login role and writes its results."),
				 errhint("Run it on the primary; the views work here.")));
	extension_require(&extension);
}

static void
require_time(Options *options)
{
	int64		max_ms = (int64) max_run_time * 1000;

	options->timeout_ms = Min(options->timeout_ms, max_ms);
}

static void
require_database(const char *name)
{
	if (name[0] != '\0' &&
		compat_database_aclcheck(get_database_oid(name, false), GetUserId(), ACL_CONNECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_DATABASE, name);
}

/* What to lower where a run asks for too many connections. */
static const char *const limiting_options[] = {
	[TARGET_ROLE] = "role_limit",
	[TARGET_POOL] = "pool_size or max_overflow",
};

/* ERROR if there is no room for that many connections; "asked" says by what. */
static void
require_room(TargetKind target, const Census *census, int needed, const char *asked)
{
	int			room = Max(census->capacity - census->in_use, 0);

	if (needed > room)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s, but only %d connections are left", asked, room),
				 errdetail("%d of %d slots that are not reserved are in use.",
						   census->in_use, census->capacity),
				 errhint("Lower %s, or wait until slots are free: see pool_exhaust_slots.",
						 limiting_options[target])));
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
connections_needed(const RunPlan *plan, const Scenario *scenario, const Census *census)
{
	const Options *options = &plan->options;
	int			services = Max(scenario->services, 1);
	int			needed = 0;
	char	   *asked = NULL;

	switch (plan->target)
	{
		case TARGET_SERVER:
			return Max(census->capacity - census->in_use, 0);
		case TARGET_ROLE:
			needed = (int) options->role_limit;
			asked = psprintf("option \"role_limit\" is %d", needed);
			break;
		case TARGET_POOL:
			needed = services * (int) (options->pool_size + options->max_overflow) +
				scenario->spare_sessions;
			asked = psprintf("the run needs %d connections (pool_size " INT64_FORMAT
							 ", max_overflow " INT64_FORMAT ", services %d, other sessions %d)",
							 needed, options->pool_size, options->max_overflow,
							 services, scenario->spare_sessions);
			break;
	}
	require_room(plan->target, census, needed, asked);
	return needed;
}

static void
require_cap(TargetKind target, int needed)
{
	if (max_connections_per_run > 0 && needed > max_connections_per_run)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the run would hold %d connections, more than the %d of pool_exhaust.max_connections_per_run",
						needed, max_connections_per_run),
				 target == TARGET_SERVER
				 ? errhint("Raise pool_exhaust.max_connections_per_run, or aim at target role.")
				 : errhint("Raise pool_exhaust.max_connections_per_run, or lower %s.",
						   limiting_options[target])));
}

/* The runner inherits the hard limit of this process. */
static void
require_descriptors(int needed)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < needed + SPARE_DESCRIPTORS)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("the run needs %d open files, but the server's hard limit is %llu",
						needed + SPARE_DESCRIPTORS, (unsigned long long) limit.rlim_max),
				 errhint("Raise the limit that the server is started with (ulimit -Hn, LimitNOFILE=).")));
}

/* Filling the server shuts everybody else out, so it needs to be alone or told. */
static void
require_no_bystanders(const RunPlan *plan)
{
	Oid			somebody;
	int			n;

	if (plan->target != TARGET_SERVER || plan->options.bystanders != BYSTANDERS_REFUSE)
		return;
	n = census_other_sessions(GetSessionUserId(), &somebody);
	if (n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("%d client sessions of other roles are connected, and filling the server would shut them out",
						n),
				 errdetail("One of them belongs to role \"%s\".",
						   GetUserNameFromId(somebody, true) ? GetUserNameFromId(somebody, true) : "?"),
				 errhint("Aim at target role, which leaves them alone, or set option bystanders to abort (let go at the first refusal of somebody else) or ignore.")));
}

/*
 * ERROR, with the numbers, if this plan cannot be carried out here and now.
 * Brings timeout_ms down to pool_exhaust.max_run_time, and sets held_max.
 */
void
preflight_plan(RunPlan *plan)
{
	const Scenario *scenario = scenario_find(plan->scenario);
	Census		census;
	int			needed;

	census_take(&census);
	require_time(&plan->options);
	require_database(plan->options.database);
	needed = connections_needed(plan, scenario, &census);
	if (scenario->require != NULL)
		scenario->require(&plan->options);
	require_workload(&plan->options);
	require_cap(plan->target, needed);
	plan->held_max = max_connections_per_run;
	require_descriptors(needed + (int) plan->options.handshakes);
	require_no_bystanders(plan);
}

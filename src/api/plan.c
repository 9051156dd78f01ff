/*
 * plan.c
 *		pool_exhaust_plan(): what a run would do, without doing it.
 *
 * The arguments are those of pool_exhaust_run(), and what would refuse that is found
 * by the same checks.  No connection is opened, and nothing is written; what shows
 * only after a login, as a password that is not accepted, is not known.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#include "api/rows.h"
#include "api/run.h"
#include "base/text.h"
#include "event/machine.h"
#include "observe/monitor/service.h"
#include "observe/slots/limit.h"
#include "request/options.h"
#include "request/preflight.h"
#include "request/run_table.h"
#include "scenario/list.h"
#include "scenario/repeat.h"
#include "shmem/monitor_status.h"
#include "sql/statement.h"
#include "target/foreign.h"
#include "target/target.h"

PG_FUNCTION_INFO_V1(pool_exhaust_plan);

/* Rows of services, those with the most sessions first. */
#define SERVICES_MAX	20

typedef struct RunPlan
{
	RowBuilder	row;
	RunRequest	request;
	const Scenario *scenario;
	const TargetType *target;
	Options		options;
	ErrorData  *refusal;		/* what it would be refused for, NULL: nothing */
} RunPlan;

static void
plan_put(RunPlan *plan, const char *item, const char *value, const char *detail)
{
	row_text(&plan->row, item);
	row_text(&plan->row, value);
	row_text(&plan->row, detail);
	row_end(&plan->row);
}

static char *
number(int64 n)
{
	return psprintf(INT64_FORMAT, n);
}

/* ---------- Would it start? ---------- */

/* Completes the request, or returns the ERROR that the run would end with, palloc'd. */
static ErrorData *
refusal_find(RunRequest *request)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile refusal = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run_preflight_server();
		run_entry_require(request);
		preflight_run(request);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		refusal = CopyErrorData();
		if (refusal->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return refusal;
}

/* Returns its message, detail and hint, palloc'd. */
static char *
refusal_text(const ErrorData *refusal)
{
	StringInfoData text;
	const char *more[] = {refusal->detail, refusal->hint};

	initStringInfo(&text);
	appendStringInfo(&text, "%s: %s", unpack_sql_state(refusal->sqlerrcode), refusal->message);
	for (int i = 0; i < lengthof(more); i++)
		if (more[i] != NULL)
			appendStringInfo(&text, "%s%s", i > 0 && more[0] != NULL ? " " : ".  ", more[i]);
	return text.data;
}

static void
put_start(RunPlan *plan)
{
	if (plan->refusal != NULL)
		plan_put(plan, "would start", "no", refusal_text(plan->refusal));
	else if (target_needs_monitor(plan->target, plan->scenario) && !monitor_is_fresh())
		plan_put(plan, "would start", "yes, and be invalid", MONITOR_IS_AWAY);
	else
		plan_put(plan, "would start", "yes", "a login that is refused would show only then");
}

/* ---------- What it would take ---------- */

static void
put_what(RunPlan *plan)
{
	plan_put(plan, "scenario", plan->scenario->name, plan->scenario->effect);
	plan_put(plan, "target", plan->request.target_name,
			 plan->target->foreign ? psprintf("a foreign server of kind %s", plan->target->name) : "of this server");
}

static void
put_roles(RunPlan *plan)
{
	int			parties = scenario_parties(plan->scenario);

	if (!scenario_has_pools(plan->scenario))
		plan_put(plan, "roles", NULL, "those of its scenarios: each has a plan of its own");
	else if (!plan->target->own_roles)
		plan_put(plan, "roles", "0", "it logs in as the user mappings of the foreign server say, if it does");
	else
		plan_put(plan, "roles", number(parties), "login roles of its own, dropped when it ends");
}

static void
put_connections(RunPlan *plan)
{
	Census		census;
	int			needed = plan->request.needed;

	if (!scenario_has_pools(plan->scenario))
	{
		plan_put(plan, "connections", NULL, "those of its scenarios: each has a plan of its own");
		return;
	}
	census_take(&census);
	if (plan->target->needed == NULL)
		plan_put(plan, "connections", "0", "to this server; how many the target has shows when it is asked");
	else
		plan_put(plan, "connections", number(needed),
				 psprintf("at its peak; %d of %d slots that are not reserved are in use now", census.in_use, census.capacity));
	plan_put(plan, "slots left", number(Max(census.capacity - census.in_use - needed, 0)),
			 "to roles without a reserve, at its peak");
	plan_put(plan, "slots left to superusers", number(Max(census.free - needed, 0)), "reserved ones included");
}

/* ---------- What it would take of this machine ---------- */

/* "19936 by open files, 28232 by ports, 1191340 by memory", palloc'd; and the least of them. */
static char *
most_text(const ScaleNeed *need, const ScaleRoom *room, int64 *least)
{
	StringInfoData text;

	*least = -1;
	initStringInfo(&text);
	for (ScaleLimit limit = 0; limit < SCALE_LIMITS; limit++)
	{
		int64		sessions = scale_sessions(limit, need, room);

		if (sessions < 0)
			continue;
		appendStringInfo(&text, "%s" INT64_FORMAT " by %s", text.len > 0 ? ", " : "", sessions, scale_limit_names[limit]);
		*least = *least < 0 ? sessions : Min(*least, sessions);
	}
	return text.data;
}

/* What each limit would be asked for; none that is not known, or that is asked for nothing. */
static void
put_needs(RunPlan *plan, const ScaleNeed *need, const ScaleRoom *room)
{
	for (ScaleLimit limit = 0; limit < SCALE_LIMITS; limit++)
		if (scale_there(limit, room) > 0 && scale_needed(limit, need) > 0)
			plan_put(plan, scale_limit_names[limit], number(scale_needed(limit, need)),
					 psprintf("%s; there are " INT64_FORMAT, scale_limit_units[limit], scale_there(limit, room)));
}

/* By what they take of a core, where the runner is, or the drivers are. */
static void
put_rate(RunPlan *plan, const ScaleNeed *need)
{
	int			drivers = (int) plan->options.drivers.n;

	plan_put(plan, "logins a second at the most", number((int64) (Max(drivers, 1) * 1000 / scale_login_ms(need))),
			 psprintf("by what a login%s takes of a core of this machine, not of the target%s",
					  need->password ? " with a password by SCRAM" : "",
					  drivers > 0 ? psprintf("; %d driver%s on machines like this one", drivers, drivers == 1 ? "" : "s") : ""));
}

/* The pools of an application on this server are small: they have no such rows. */
static void
put_machine(RunPlan *plan)
{
	ScaleNeed	need;
	ScaleRoom	room;
	bool		known;
	int64		least;
	char	   *most;

	if (!scenario_has_pools(plan->scenario) || plan->target->default_port == NULL)
		return;
	known = foreign_scale_need(&plan->request, &plan->options, foreign_endpoint(&plan->request), &need);
	machine_read(&room);
	most = most_text(&need, &room, &least);
	if (plan->options.drivers.n > 0)
		plan_put(plan, "drivers", number(plan->options.drivers.n),
				 known ? psprintf("at most %d connections each, and what follows is for each of them, on a machine like this one; each asks for itself before it opens any", need.sessions)
				 : "how many connections each has shows when the target is asked");
	if (least >= 0)
		plan_put(plan, "connections at the most", number(least), psprintf("of one %s on a machine like this one to that target: %s",
																		  plan->options.drivers.n > 0 ? "driver" : "runner", most));
	if (known)
		put_needs(plan, &need, &room);
	put_rate(plan, &need);
}

/* ---------- Sessions of others ---------- */

static int
compare_services(const ListCell *a, const ListCell *b)
{
	const Service *x = lfirst(a);
	const Service *y = lfirst(b);

	return x->in_use != y->in_use ? y->in_use - x->in_use : strcmp(x->usename, y->usename);
}

/* Returns the services of all sessions but this one, those with the most of them first. */
static List *
services_of_others(void)
{
	HTAB	   *table = services_create();
	List	   *services = NIL;
	HASH_SEQ_STATUS seq;
	Service    *service;
	Slot		slot;

	for (int i = 0; i < MaxConnections; i++)
		if (slot_read(i, &slot) && slot.pid != MyProcPid)
			(void) services_add(table, &slot);
	hash_seq_init(&seq, table);
	while ((service = hash_seq_search(&seq)) != NULL)
		services = lappend(services, service);
	list_sort(services, compare_services);
	return services;
}

/* Returns how much of the server it could still have at the peak of the run, palloc'd; NULL: that is not known. */
static char *
service_left(const RunPlan *plan, const Service *service)
{
	if (plan->refusal != NULL || !scenario_has_pools(plan->scenario))
		return NULL;
	return psprintf("could open %d more to this database at its peak",
					limit_headroom_beside(service->key.role, MyDatabaseId, plan->request.needed));
}

/* One row a service. */
static void
put_services(RunPlan *plan)
{
	List	   *services = services_of_others();
	ListCell   *cell;
	int			rows = 0;
	int			others = 0;

	foreach(cell, services)
	{
		const Service *service = lfirst(cell);

		if (++rows > SERVICES_MAX || !service_may_see(service->key.role))
		{
			others += service->in_use;
			continue;
		}
		plan_put(plan, text_printable(psprintf("service %s/%s", service->usename, service->key.application_name)),
				 psprintf("%d sessions", service->in_use), service_left(plan, service));
	}
	if (others > 0)
		plan_put(plan, "service (others)", psprintf("%d sessions", others), NULL);
}

/* What becomes of them, where the run takes what they need. */
static void
put_bystanders(RunPlan *plan)
{
	static const char *const becomes[] = {
		[BYSTANDERS_REFUSE] = "the run does not start beside sessions of other roles, and ends when one of theirs is refused",
		[BYSTANDERS_ABORT] = "the run ends when a login of theirs is refused",
		[BYSTANDERS_IGNORE] = "their logins are refused as long as the run lasts",
	};

	if (plan->target->require_alone != NULL && scenario_has_pools(plan->scenario))
		plan_put(plan, "bystanders", bystanders_words.names[plan->options.bystanders], becomes[plan->options.bystanders]);
}

/* ---------- How long it would take ---------- */

static void
put_time(RunPlan *plan)
{
	int64		runs = repeat_runs_max(&plan->options);

	plan_put(plan, "time at the most", psprintf("%s s", number_text(repeat_time_ms(&plan->request, &plan->options) / 1000.0)),
			 runs > 1 ? psprintf("up to " INT64_FORMAT " runs; options timeout_ms and repeat, setting pool_exhaust.max_run_time", runs)
			 : "option timeout_ms, setting pool_exhaust.max_run_time");
}

/* How long earlier runs have taken, of this scenario on this target with this profile. */
static void
put_earlier(RunPlan *plan)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {
		CStringGetTextDatum(plan->request.scenario),
		CStringGetTextDatum(plan->request.target_name),
		CStringGetTextDatum(profile_words.names[plan->options.profile]),
	};
	Extension	extension;
	MemoryContext context = CurrentMemoryContext;
	const char *n;

	if (!extension_find(&extension))
		return;
	SPI_connect();
	extension_enter(&extension);
	statement_run(&extension,
				  "SELECT pg_catalog.count(*), "
				  "pg_catalog.round(pg_catalog.percentile_disc(0.5) WITHIN GROUP (ORDER BY s), 1), pg_catalog.round(pg_catalog.max(s), 1) "
				  "FROM (SELECT extract(epoch FROM finished_at - started_at) AS s FROM @.pool_exhaust_runs "
				  "WHERE scenario = $1 AND target = $2 AND verdict = 'pass' AND options->>'profile' = $3) AS r",
				  SPI_OK_SELECT, lengthof(types), types, values);
	MemoryContextSwitchTo(context);
	n = statement_text(0, 1);
	if (strcmp(n, "0") != 0)
		plan_put(plan, "time of earlier runs", psprintf("%s s", statement_text(0, 2)),
				 psprintf("the median of %s that passed on this target with profile %s; the longest took %s s",
						  n, profile_words.names[plan->options.profile], statement_text(0, 3)));
	extension_leave(&extension);
	SPI_finish();
}

Datum
pool_exhaust_plan(PG_FUNCTION_ARGS)
{
	RunPlan		plan = {0};

	run_request_read(fcinfo, &plan.request);
	plan.row = rows_begin(fcinfo);
	plan.scenario = scenario_find(plan.request.scenario);
	plan.target = target_types[plan.request.target];
	plan.refusal = refusal_find(&plan.request);
	plan.options = options_in_force(&plan.request, plan.scenario);
	put_start(&plan);
	put_what(&plan);
	put_roles(&plan);
	if (plan.refusal == NULL)
		put_connections(&plan);
	put_machine(&plan);
	put_bystanders(&plan);
	put_services(&plan);
	if (plan.refusal == NULL)
	{
		put_time(&plan);
		put_earlier(&plan);
	}
	return (Datum) 0;
}

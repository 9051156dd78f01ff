/*
 * sessions.c
 *		Explanations by what sessions are for: listeners, monitoring, runs of
 *		pool_exhaust, and those that no rule can group.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "advise/explain/explain.h"
#include "shmem/run_entry.h"

/* Sessions that are named together although no pool is short of connections. */
static int
pile(const Facts *facts)
{
	return Max(facts->census.capacity / 5, 5);
}

/* ---------- LISTEN ---------- */

static bool
is_listener(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->listens && session->slot.state == SLOT_IDLE;
}

static bool
judge_listeners(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n < pile(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s idle and waiting for notifications, the longest for %s", crowd_text(crowd),
								 seconds_text(crowd->longest->state_ms));
	finding->evidence = "One session that listens is enough for each process; no leak rule suspects them.";
	finding->next_step = "SELECT usename, application_name, client_addr, count(*), min(backend_start) FROM pg_stat_activity WHERE query ILIKE 'listen%' GROUP BY 1, 2, 3 ORDER BY 4 DESC;";
	return true;
}

const Explanation explanation_listeners = {
	.name = "listeners",
	.accounts_for = is_listener,
	.judge = judge_listeners,
};

/* ---------- Runs and holds ---------- */

static bool
is_of_run(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->of_run;
}

/* Fills in how many sessions each run has, by its place in the run table; returns the place of the one with most. */
static int
sessions_by_run(const Facts *facts, const Explanation *explanation, int *sessions)
{
	int			most = 0;

	memset(sessions, 0, sizeof(int) * RUNS_MAX);
	foreach_session_of(facts, explanation, session)
		sessions[session->run - shared->runs]++;
	for (int i = 0; i < RUNS_MAX; i++)
		if (sessions[i] > sessions[most])
			most = i;
	return most;
}

/* Returns "hold 7", or "run 7", palloc'd. */
static char *
run_text(const RunEntry *run)
{
	return run->hold_id != 0 ? psprintf("hold " INT64_FORMAT, run->hold_id) : psprintf("run " INT64_FORMAT, run->run_id);
}

/* Of a past moment the run is known if it was one on this server. */
static void
say_recorded(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	finding->confidence = CONFIDENCE_SURE;
	finding->sentence = psprintf("%s those of %s of pool_exhaust", crowd_text(crowd),
								 facts->run_id != 0 ? psprintf("run " INT64_FORMAT, facts->run_id) : "runs or holds");
}

static bool
judge_run_under_way(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	int			sessions[RUNS_MAX];
	int			most;
	RunEntry	run;

	if (crowd->n < facts_crowd(facts))
		return false;
	if (facts->recorded != NULL)
	{
		say_recorded(facts, crowd, finding);
		return true;
	}
	most = sessions_by_run(facts, self, sessions);
	run_entry_copy(most, &run);
	finding->confidence = CONFIDENCE_SURE;
	finding->sentence = sessions[most] == crowd->n ? psprintf("%s those of %s of pool_exhaust", crowd_text(crowd), run_text(&run))
		: psprintf("%s those of several runs and holds of pool_exhaust, %d of %s", crowd_text(crowd), sessions[most], run_text(&run));
	finding->evidence = psprintf("Asked for in the database with OID %u; it ends by itself.", run.database);
	finding->next_step = run.hold_id != 0 ? psprintf("SELECT pool_exhaust_release(" INT64_FORMAT ");", run.hold_id)
		: psprintf("SELECT pool_exhaust_stop(" INT64_FORMAT ");", run.run_id);
	return true;
}

const Explanation explanation_run_under_way = {
	.name = "run under way",
	.recorded = true,
	.accounts_for = is_of_run,
	.judge = judge_run_under_way,
};

/* ---------- Monitoring ---------- */

static bool
is_monitoring(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->service != NULL && session->service->monitoring;
}

static bool
judge_monitoring(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n < facts_crowd(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s of roles that are to monitor, with the rights of pg_monitor", crowd_text(crowd));
	finding->evidence = psprintf("%s has %d sessions, %d of them idle; one or two are enough to watch a server.", crowd->service->name,
								 crowd->service->in_use, crowd->service->idle);
	finding->next_step = crowd->service->usename != NULL
		? psprintf("SELECT pid, state, backend_start, client_addr, left(query, 60) AS query FROM pg_stat_activity WHERE usename = %s ORDER BY backend_start;",
				   quote_literal_cstr(crowd->service->usename))
		: "SELECT pid, usename, state, backend_start FROM pg_stat_activity ORDER BY backend_start;";
	return true;
}

const Explanation explanation_monitoring = {
	.name = "monitoring",
	.accounts_for = is_monitoring,
	.judge = judge_monitoring,
};

/* ---------- Sessions that no rule can group ---------- */

static bool
is_alone(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->service != NULL && session->service->in_use <= SMALL_SERVICE && session->service->alike >= pile(facts);
}

static bool
judge_many_application_names(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n < pile(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%d sessions have nearly as many names: %d services of one role have one or two each, as %s", crowd->n,
								 crowd->service->alike, crowd->service->name);
	finding->evidence = "Sessions of a pool are told by role and application_name, so that leak rules cannot compare these; give all processes of a service the same name.";
	finding->next_step = "SELECT usename, count(*) AS sessions, count(DISTINCT application_name) AS names, min(application_name), max(application_name) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC;";
	return true;
}

const Explanation explanation_many_application_names = {
	.name = "many application_names",
	.recorded = true,
	.accounts_for = is_alone,
	.judge = judge_many_application_names,
};

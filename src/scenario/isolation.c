/*
 * isolation.c
 *		Two services with pools and roles of their own: the first is exhausted,
 *		and the second must go on as before.
 */
#include "postgres.h"

#include "base/text.h"
#include "observe/slots/census.h"
#include "scenario/list.h"
#include "story/story.h"

/* Clients of the first service for each of its connections. */
#define OVERLOAD				3

/* The second service succeeds as before, but for a rounding error. */
#define SUCCESS_SLACK		1.0

/* Begins the load on the second service, for one phase. */
static Load *
second_load(Run *run)
{
	int			party = run_fault(run, FAULT_SHARED_BETWEEN_SERVICES) ? 0 : 1;

	return clients_start(run, party, (int) run->options.clients, 0, run->options.work_ms);
}

/* Returns the share of the second service's operations that succeeded, without those that chaos broke. */
static double
success_percent(const Run *run, const Tally *tally)
{
	return percent_of(tally->succeeded,
					  tally->asked - operations_excused(&run->parties[1], tally->failed));
}

static Tally *
baseline(Run *run)
{
	Phase	   *p = phase(run, "baseline");
	Load	   *load = second_load(run);
	Tally	   *tally;

	linger_until(run, false, run->options.baseline_ms);
	tally = load_end(run, load, settle_ms(run));
	phase_end(run);
	phase_note(run, "the second service alone: %.0f operations/s, %s %% succeed   %s",
			   tally->succeeded * 1e6 / p->elapsed_us, number_text(success_percent(run, tally)),
			   phase_latency(run, "response", &tally->response));
	if (tally->succeeded == 0)
		run_end(run, VERDICT_INVALID, "the second service does not work even alone: %s", failure_text(run, run->parties[1].pool));
	return tally;
}

/* What came of the exhaustion of the first service. */
typedef struct Exhaustion
{
	Tally	   *first;
	Tally	   *second;
	StringInfoData limits;		/* of the first that were reached: "role_limit after 8 ms, pool_timeout after 300 ms" */
	int64		ledger;			/* refusals of the run's roles in the ledger */
	int			reach;			/* connections that the second has, and can still open */
	int			others;			/* slots that sessions of no service of the run have taken meanwhile */
	uint64		beside_us;		/* for so long the second worked beside the first */
} Exhaustion;

/* Returns how many slots are in use by other sessions than those of the two services. */
static int
others_in_use(Run *run)
{
	int			ours;
	int			in_use = census_slots(InvalidOid, &ours);

	for (int i = 0; i < run->nparties; i++)
		in_use -= census_role_sessions(run->parties[i].role, NULL, 0);
	return in_use;
}

/* Adds a limit of the first service when it is reached for the first time. */
static void
limit_note(StringInfo limits, const char *name, bool reached, const Phase *p)
{
	if (reached && strstr(limits->data, name) == NULL)
		appendStringInfo(limits, "%s%s after %.0f ms", limits->len > 0 ? ", " : "", name,
						 (loop_now_us() - p->started_us) / 1000.0);
}

static bool
exhausted_for(const Run *run, StringInfo limits, const Phase *p)
{
	const PoolStats *stats = &run->pool->stats;

	limit_note(limits, "role_limit", stats->refused_by[CAUSE_ROLE_LIMIT] > 0, p);
	limit_note(limits, "pool_timeout", stats->timed_out > 0, p);
	return run_not_granted(stats) > 0 && loop_now_us() >= p->started_us + run->options.exhaust_ms * 1000;
}

/* The first service has more clients than connections; the second goes on with its work. */
static Exhaustion *
exhaust(Run *run)
{
	const Options *options = &run->options;
	Exhaustion *e = palloc0(sizeof(Exhaustion));
	Load	   *first;
	Load	   *second;
	Phase	   *p = phase(run, "exhaust");

	initStringInfo(&e->limits);
	if (run->target->ledger)
		e->ledger = -run_refusals_in_ledger(run);
	if (run->target->own_roles)
		e->others = -others_in_use(run);
	first = clients_start(run, 0, run_capacity(run) * OVERLOAD, 0, options->long_ms);
	second = second_load(run);
	phase_lasts(run, options->exhaust_ms);
	wait_until(run, exhausted_for(run, &e->limits, p),
			   options->exhaust_ms + options->pool_timeout_ms + settle_ms(run));
	if (run->target->own_roles)
	{
		e->reach = run_headroom(run, run->parties[1].role) + sessions_in_activity(run, run->parties[1].role);
		e->others += others_in_use(run);
	}
	e->second = load_end(run, second, settle_ms(run));
	e->beside_us = loop_now_us() - p->started_us;
	e->first = load_end(run, first, options->long_ms + settle_ms(run));
	run_await_logins(run);
	e->ledger += run->target->ledger ? run_refusals_in_ledger(run) : 0;
	phase_note(run, "the first: " UINT64_FORMAT " not granted, %s",
			   run_not_granted(&run->pool->stats), e->limits.len > 0 ? e->limits.data : "no limit was reached");
	if (run_not_granted(&run->pool->stats) == 0)
		run_end(run, VERDICT_INVALID, "the first service was not exhausted: every request was granted; raise exhaust_ms or long_ms, or lower pool_timeout_ms");
	return e;
}

/* The first service has left to the second all the connections that are its own. */
static void
check_reach(Run *run, const Exhaustion *e)
{
	static const char claim[] = "capacity of the second service";

	if (e->reach < run_capacity(run) && e->others > 0)
		check_skip(run, claim, psprintf("sessions of others have taken %d slots meanwhile", e->others));
	else
		check_at_least(run, claim, run_capacity(run), e->reach, "",
					   "the first service has taken slots that the second needs: give it a CONNECTION LIMIT");
}

/* The second service is as before. */
static void
beside(Run *run, const Tally *before, const Exhaustion *e)
{
	const Tally *after = e->second;
	const ChaosCounts *counts = &run->parties[1].chaos_counts;
	const PoolStats *stats = &run->pool->stats;

	phase(run, "beside");
	phase_note(run, "the second: %.0f operations/s, %s %% succeed   %s",
			   after->succeeded * 1e6 / e->beside_us, number_text(success_percent(run, after)),
			   phase_latency(run, "response", &after->response));
	if (run->target->ledger)
		check_ledger(run, NULL, stats->refused_by[CAUSE_ROLE_LIMIT], logins_unanswered(run->pool), e->ledger);
	check_all_ended(run, "the first", e->first);
	check_all_ended(run, "the second", after);
	check_at_least(run, "success of the second service", success_percent(run, before) - SUCCESS_SLACK,
				   success_percent(run, after), "%",
				   "the second service succeeds less while the first is exhausted: do they share a pool or a limit?");
	check_chaos(run, "errors in the second service", 0, chaos_acts_done(counts), tally_not_granted(after) + after->failed,
				psprintf(UINT64_FORMAT " were refused, " UINT64_FORMAT " timed out, " UINT64_FORMAT " got no connection otherwise, " UINT64_FORMAT " operations failed: do the services share a pool, a limit or a lock?",
						 after->refused, after->timed_out, after->unserved, after->failed));
	check_was_of_time(run);
	check_at_most(run, "p99 of the second service",
				  histogram_ms(&before->response, 0.99) + run->options.tolerance_ms + chaos_wait_ms(counts),
				  histogram_ms(&after->response, 0.99), "ms",
				  "the second service gets slower while the first is exhausted: do they share a pool, a lock, or processors that are busy?");
	if (run->target->own_roles)
		check_reach(run, e);
}

static void
isolation_play(Run *run)
{
	Tally	   *before = baseline(run);

	beside(run, before, exhaust(run));
}

static void
isolation_require(const Options *options)
{
	require_time_for(options, options->baseline_ms + options->exhaust_ms + options->long_ms);
	if (options->clients > options->pool_size)
		options_contradict("Lower clients, or raise pool_size.",
						   INT64_FORMAT " clients of the second service exhaust its own pool_size of " INT64_FORMAT,
						   options->clients, options->pool_size);
	if (options->long_ms <= options->pool_timeout_ms)
		options_contradict("Raise long_ms beyond pool_timeout_ms.",
						   "operations of " INT64_FORMAT " ms make no request wait for more than " INT64_FORMAT " ms",
						   options->long_ms, options->pool_timeout_ms);
}

const Scenario scenario_isolation = {
	.name = "isolation",
	.summary = "exhausts one service, while another with a pool and a role of its own goes on",
	.effect = "opens pool_size + max_overflow connections for each of two services",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.parties = 2,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {4, 10, 10}, .inherits = true},
		{OPTION_max_overflow, {2, 5, 5}, .inherits = true},
		{OPTION_pool_timeout_ms, {300, 5000, 5000}, .inherits = true},
		POOL_OPTIONS,
		{OPTION_role_limit, {5, 12, 12}},
		{OPTION_second},
		{OPTION_clients, {2, 5, 5}},
		{OPTION_work_ms, {2, 10, 10}},
		{OPTION_long_ms, {400, 8000, 8000}, .inherits = true},
		{OPTION_baseline_ms, {400, 5000, 60 * 1000}},
		{OPTION_exhaust_ms, {600, 30 * 1000, 3600 * 1000}},
		{OPTION_tolerance_ms, {250, 250, 250}},
		{OPTION_END}
	},
	.require = isolation_require,
	.play = isolation_play,
};

/*
 * accuracy.c
 *		Known numbers of connections at rest and in motion: do the views, the
 *		server and the clients agree on them?
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"

#include "observe/slots/census.h"
#include "scenario/list.h"
#include "shmem/monitor_status.h"
#include "shmem/run_pool.h"
#include "story/story.h"

/* Of an average number of connections: what is held for no time is not measured. */
#define LEAST_TOLERANCE		0.05

/* Returns what the view has of the pool, palloc'd. */
static char *
reported(Run *run, const char *expression)
{
	return query_text(run, psprintf("SELECT %s FROM @.pool_exhaust_pools WHERE kind = 'pool' AND name = %s", expression,
									quote_literal_cstr(run->parties[0].published.name)));
}

/* Returns "in use 2, idle 0, overflow 0, waiting 0". */
static char *
reported_gauges(Run *run)
{
	return reported(run, "pg_catalog.format('in use %s, idle %s, overflow %s, waiting %s', in_use, idle, overflow, waiting)");
}

static int64
reported_count(Run *run, const char *column)
{
	return strtoll(reported(run, column), NULL, 10);
}

static void
level(Run *run, int percent)
{
	const Options *options = &run->options;
	int			n = (int) Min(rint(options->pool_size * percent / 100.0), run_capacity(run));
	int			open;
	Oid			role = run->parties[0].role;
	PoolState	truth;

	phase(run, psprintf("%d %%", percent));
	run_hold(run, n);
	run_publish(run);
	pool_read_state(run->pool, &truth);
	open = n + truth.idle;
	poll_until(run, census_role_sessions(role, NULL, 0) == open, settle_ms(run));
	phase_note(run, "%d held: %s", n, reported_gauges(run));

	check_text(run, psprintf("pool at %d %%", percent),
			   psprintf("in use %d, idle %d, overflow %d, waiting 0", n, open - n,
						(int) Max(n - options->pool_size, 0)),
			   reported_gauges(run),
			   "pool_exhaust_pools does not show what was injected");
	check_text(run, psprintf("sessions in the server at %d %%", percent),
			   psprintf("%d, %d", open, open),
			   psprintf("%d, %d", census_role_sessions(role, NULL, 0), sessions_in_activity(run, role)),
			   "by the server's own count, and pg_stat_activity: see pool_exhaust_backends for sessions of the run that have ended or are still there");
}

/* How long the view and the clients disagreed, at the longest. */
typedef struct Motion
{
	Load	   *load;
	uint64		agreed_us;
	uint64		longest_us;
	uint64		unseen_us;		/* from each grant and release to its publication, added up */
	int			peak;			/* most connections in use */
} Motion;

/*
 * Compares what the view reads, as of the end of this turn of the loop, with what
 * the clients hold; true when all are done.
 */
static bool
in_motion(Run *run, Motion *motion)
{
	Load	   *load = motion->load;
	uint64		now_us = loop_now_us();
	RunPool		published[RUN_PARTIES_MAX];

	motion->unseen_us += load->changes * now_us - load->changes_us;
	load->changes = load->changes_us = 0;
	motion->peak = Max(motion->peak, run->pool->stats.held);
	if (run_pools_read(run->entry, published) > 0 && published[0].in_use == load->holding)
		motion->agreed_us = now_us;
	else
		motion->longest_us = Max(motion->longest_us, now_us - motion->agreed_us);
	return load_is_over(load);
}

static void
churn_figures(Run *run, const Motion *motion, const Tally *tally)
{
	static const int quantiles[] = {10, 25, 50, 75, 90, 99};
	double		granted = Max(tally->granted, 1);

	phase_figure(run, "arrivals", tally->asked);
	phase_figure(run, "granted", tally->granted);
	phase_figure(run, "refused", tally->refused);
	phase_figure(run, "timed_out", tally->timed_out);
	phase_figure(run, "failed", tally->failed);
	phase_figure(run, "queued", tally->queued);
	phase_figure(run, "rate_per_s", tally->asked * 1e6 / motion->load->arrival.duration_us);
	phase_figure(run, "mean_hold_ms", tally->hold_us / granted / 1000);
	phase_figure(run, "mean_wait_ms", tally->wait_us / granted / 1000);
	phase_figure(run, "wait_error_ms", load_wait_error_us(motion->load) / 1000);
	for (int i = 0; i < lengthof(quantiles); i++)
		phase_figure(run, psprintf("wait_p%d_ms", quantiles[i]),
					 histogram_ms(&tally->wait, quantiles[i] / 100.0));
	phase_figure(run, "wait_max_ms", histogram_max_ms(&tally->wait));
	phase_latency(run, "wait", &tally->wait);
	phase_figure(run, "peak_overflow", Max(motion->peak - run->options.pool_size, 0));
}

/* Clients arrive at random, and hold for a random time; the seed determines both. */
static Load *
churn_start(Run *run)
{
	const Options *options = &run->options;
	Arrival		arrival = load_arrival(run, options->churn_ms);
	LoadConfig	config = load_of(run, &run->parties[0]);

	config.sql = options->workload[0] != '\0' ? options->workload : NULL;
	config.hold_ms = options->work_ms;
	config.exponential = true;
	config.arrival = &arrival;
	return load_start(run, &config);
}

/*
 * What was granted and ended is what was reported; the mean numbers follow Little's
 * law, but for the time that the reported one takes to follow.
 */
static void
churn_checks(Run *run, const Phase *p, const Motion *motion, const PoolStats *before, double in_use)
{
	const Tally *tally = load_tally(motion->load);
	double		little = tally->hold_us / p->elapsed_us;

	check_count(run, "granted in the churn", tally->granted,
				reported_count(run, "granted") - before->granted,
				"the pool and its clients disagree on how many connections it granted");
	check_count(run, "timed out in the churn", tally->timed_out,
				reported_count(run, "timed_out") - before->timed_out,
				"the pool and its clients disagree on how many requests timed out");
	check_count(run, "refused in the churn", tally->refused,
				reported_count(run, "refused") - before->refused,
				"the pool and its clients disagree on how many requests were refused");
	check_chaos(run, "operations that failed", tally->failing, chaos_sessions_ended(&run->parties[0].chaos_counts), tally->failed,
				"other operations failed than were meant to: the server log says why");
	check_chaos(run, "requests that failed", 0, run->parties[0].chaos_counts.done[CHAOS_DELAY], tally->unserved,
				failure_text(run, run->pool));
	check_all_ended(run, NULL, tally);
	check_near(run, "connections in use on average", little,
			   Max(little * run->options.tolerance_percent / 100, LEAST_TOLERANCE) +
			   (double) motion->unseen_us / p->elapsed_us, in_use, "",
			   "arrivals times the time that each held a connection give another number (Little's law)");
	check_all_released(run, NULL, (int) reported_count(run, "in_use"));
}

static void
churn(Run *run)
{
	RunParty   *party = &run->parties[0];
	PoolStats	before = run->pool->stats;
	Motion		motion = {.agreed_us = loop_now_us()};
	Tally	   *tally;
	double		in_use;
	Phase	   *p = phase(run, "churn");

	run_publish(run);
	in_use = party->in_use_s;
	motion.load = churn_start(run);
	run_publish(run);			/* the first clients may have theirs */
	wait_until(run, in_motion(run, &motion),
			   run->options.churn_ms + run->options.pool_timeout_ms + settle_ms(run));
	phase_end(run);
	tally = load_tally(motion.load);
	in_use = (party->in_use_s - in_use) * 1e6 / p->elapsed_us;
	churn_figures(run, &motion, tally);
	phase_note(run, UINT64_FORMAT " operations, " UINT64_FORMAT " failed, " UINT64_FORMAT " timed out   %.2f in use on average",
			   tally->asked, tally->failed, tally->timed_out, in_use);
	if (tally->granted == 0 && !check_failed(run))
		run_end(run, VERDICT_INVALID, "no operation of the churn was granted a connection: raise rate, churn_ms or pool_timeout_ms; %s", failure_text(run, run->pool));
	check_at_most(run, "longest disagreement in motion", sample_interval,
				  motion.longest_us / 1000.0, "ms",
				  "the view shows another number of connections in use than there are");
	churn_checks(run, p, &motion, &before, in_use);
}

static void
accuracy_play(Run *run)
{
	const Levels *levels = &run->options.levels;

	run_disturb(run, CHAOS_GENTLE); /* what is held stays so */
	for (int i = 0; i < levels->n; i++)
		level(run, (int) levels->percent[i]);
	run_hold(run, 0);
	run_disturb(run, CHAOS_ALL);
	churn(run);
}

static void
accuracy_require(const Options *options)
{
	require_time_for(options, options->churn_ms);
}

const Scenario scenario_accuracy = {
	.name = "accuracy",
	.summary = "compares what is reported of a pool and of the server with what was injected, at rest and in motion",
	.effect = "opens pool_size + max_overflow connections",
	.default_target = TARGET_POOL,
	.targets = ON_POOL,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {4, 20, 20}},
		{OPTION_max_overflow, {2, 10, 10}},
		{OPTION_pool_timeout_ms, {2000, 5000, 5000}},
		POOL_OPTIONS,
		{OPTION_levels, .levels = {4, {0, 50, 100, 150}}},
		{OPTION_churn_ms, {1000, 30 * 1000, 3600 * 1000}},
		{OPTION_rate, {300, 1000, 1000}},
		{OPTION_arrivals, {ARRIVAL_POISSON}},
		{OPTION_work_ms, {10, 15, 15}},
		{OPTION_failing_percent, {5, 5, 5}},
		{OPTION_tolerance_percent, {5, 5, 5}},
		{OPTION_END}
	},
	.require = accuracy_require,
	.play = accuracy_play,
};

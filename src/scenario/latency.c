/*
 * latency.c
 *		How long does it take to get a connection, at which utilization, and
 *		what of that is the queue, the login and the first query?
 */
#include "postgres.h"

#include <math.h>

#include "load/target/probe.h"
#include "scenario/list.h"
#include "story/story.h"

/* To find what the pool itself costs. */
#define COST_OPERATIONS		10000

/* A pooler that has time to work does not stand still for so long. */
#define LONG_STOP_US		(100 * 1000)

/* On a machine that is not too busy, a query that does next to nothing takes less, on average. */
#define SLOW_REQUEST_MS		5.0

/* Acquires and releases an idle connection without using it. */
static void
cost(Run *run)
{
	int			n = 0;
	Phase	   *p;

	phase(run, "connect");
	run_hold(run, (int) run->options.pool_size);
	run_hold(run, 0);

	p = phase(run, "cost");
	for (; n < COST_OPERATIONS; n++)
	{
		pool_acquire_many(run->pool, 1);
		if (run->pool->stats.held == 0)
			break;
		pool_release_many(run->pool, 1);
	}
	phase_end(run);
	pool_cancel(run->pool);
	memset(&run->pool->waits, 0, sizeof(run->pool->waits)); /* none of these waited */
	phase_note(run, "%d times an idle connection acquired and released, %.2f us each",
			   n, (double) p->elapsed_us / Max(n, 1));
}

/* Returns "queue 0.0  connect 0.0  first query 0.3", the parts of the median in ms, palloc'd. */
static char *
parts_text(const Tally *tally)
{
	double		wait = histogram_ms(&tally->wait, 0.50);
	double		connect = histogram_ms(&tally->connect, 0.50);

	return psprintf("queue %.1f  connect %.1f  first query %.1f",
					Max(wait - connect, 0), connect, histogram_ms(&tally->query, 0.50));
}

static void
level_figures(Run *run, const Tally *tally, double utilization)
{
	phase_figure(run, "utilization", utilization);
	phase_figure(run, "wait_p50_ms", histogram_ms(&tally->wait, 0.50));
	phase_figure(run, "wait_p95_ms", histogram_ms(&tally->wait, 0.95));
	phase_figure(run, "wait_p99_ms", histogram_ms(&tally->wait, 0.99));
	phase_figure(run, "wait_max_ms", histogram_max_ms(&tally->wait));
	phase_figure(run, "connect_p99_ms", histogram_ms(&tally->connect, 0.99));
	phase_figure(run, "query_p50_ms", histogram_ms(&tally->query, 0.50));
	phase_figure(run, "query_p99_ms", histogram_ms(&tally->query, 0.99));
	phase_latency(run, "wait", &tally->wait);
	phase_latency(run, "connect", &tally->connect);
	phase_latency(run, "query", &tally->query);
}

/* Clients that arrive at rate "rate"; their waits are measured. */
static Load *
probes(Run *run)
{
	Arrival		arrival = load_arrival(run, run->options.level_ms);
	LoadConfig	config = load_of(run, &run->parties[0]);

	load_work(run, &config, 0);
	config.arrival = &arrival;
	return load_start(run, &config);
}

/* The clients that keep a pool at that level, as a share of its capacity. */
static double
level_share(int64 capacity, int64 percent)
{
	return Max(rint(capacity * percent / 100.0), 1) / capacity;
}

/*
 * Returns after how long a pooler that stands still may refuse clients, as more have
 * arrived than it has places left: half of what that takes on average, but one that is
 * to hold so few must do so without a stop.  0: no pooler.
 */
static uint64
overrun_us(const Run *run, int clients)
{
	const RunParty *party = &run->parties[0];

	if (!run->target->counts_itself || party->probe == NULL)
		return 0;
	return (uint64) Max((party->probe->figures.capacity - clients) * 1e6 / run->options.rate / 2, LONG_STOP_US);
}

/* What was found at a level. */
typedef struct Level
{
	double		percent;		/* how busy the pool was */
	double		request_ms;		/* of the clients that arrive, until their query was answered; on average */
	double		under_way;		/* of them, at once; on average */
	int			left;			/* connections that those at work leave to them ... */
	bool		full;			/* ... were too few: there was none that was idle */
} Level;

/*
 * Clients that arrive at that rate and each take that long are so many at once: Little's
 * law.  A pooler has more to do for them than the run can see, to log them in and to
 * reset their connection: so if they are more than the connections that are left, its
 * pool was full, whatever it said.
 */
static Level
level_found(const Run *run, int percent, const Tally *tally, double utilization, int clients)
{
	const Options *options = &run->options;
	double		request_ms = (tally->wait_us + tally->hold_us) / Max(tally->granted, 1) / 1000;
	double		under_way = options->rate * request_ms / 1000;
	int			left = run_capacity(run) - clients;

	return (Level) {
		.percent = 100 * utilization,
		.request_ms = request_ms,
		.under_way = under_way,
		.left = left,
		.full = run->target->counts_itself && percent <= options->latency_limit_percent && left > 0 && under_way > left,
	};
}

/* What a pool that is not full owes its clients. */
static void
level_check(Run *run, int percent, const Level *found, const Tally *tally, uint64 acts)
{
	const Options *options = &run->options;
	const char *name = psprintf("not granted at %d %%", percent);
	int			clients = run_capacity(run) - found->left;

	if (found->full)
		check_skip(run, name, "the pool was full");
	else
	{
		check_chaos(run, name, 0, acts, tally_not_granted(tally),
					psprintf("requests were refused or timed out in a pool that is not full: see pool_exhaust_samples; %s",
							 failure_text(run, run->pool)));
		check_was_of_delay(run, overrun_us(run, clients));
	}
	check_at_most(run, psprintf("p99 wait at %d %%", percent),
				  options->latency_limit_ms + chaos_wait_ms(&run->parties[0].chaos_counts), histogram_ms(&tally->wait, 0.99), "ms",
				  "it takes too long to get a connection from a pool that is not full: the line of the level says what of it is queue, connect and first query");
}

static Level
level(Run *run, int percent)
{
	const Options *options = &run->options;
	RunParty   *party = &run->parties[0];
	uint64		acts = chaos_acts_done(&party->chaos_counts);
	double		share = level_share(run_capacity(run), percent);
	int			clients = (int) rint(share * run_capacity(run));
	Tally	   *tally;
	double		utilization;
	Level		found;
	Load	   *busy;
	Load	   *probing;
	Phase	   *p = phase(run, psprintf("%d %%", percent));

	busy = clients_start(run, 0, clients, 0, options->work_ms); /* they keep the pool at that level */
	wait_until(run, busy->peak_holding >= clients, settle_ms(run));
	run_publish(run);
	utilization = party->in_use_s;
	p->started_us = loop_now_us();
	probing = probes(run);
	wait_until(run, !probing->coming, options->level_ms + settle_ms(run));
	run_publish(run);
	utilization = (party->in_use_s - utilization) /
		((loop_now_us() - p->started_us) / 1e6 * run_capacity(run));
	load_stop(busy);
	tally = load_end(run, probing, options->pool_timeout_ms + settle_ms(run));
	load_end(run, busy, options->work_ms + settle_ms(run));
	phase_end(run);
	found = level_found(run, percent, tally, utilization, clients);
	level_figures(run, tally, utilization);
	phase_note(run, "p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms   %s   %.0f %% in use",
			   histogram_ms(&tally->wait, 0.50), histogram_ms(&tally->wait, 0.95),
			   histogram_ms(&tally->wait, 0.99), histogram_max_ms(&tally->wait), parts_text(tally),
			   100 * utilization);
	if (tally->asked == 0 && !check_failed(run))
		run_end(run, VERDICT_INVALID, "no client requested a connection at %d %% utilization: raise rate or level_ms", percent);

	if (percent <= options->latency_limit_percent)
		level_check(run, percent, &found, tally, chaos_acts_done(&party->chaos_counts) - acts);
	check_all_ended(run, psprintf("%d %%", percent), tally);
	return found;
}

/*
 * Ends the run as invalid: the pool was not at the level.  Requests that take long,
 * though they do next to nothing and the pool is not full, keep it busier than planned.
 */
static void
level_missed(Run *run, int64 wanted, Level found)
{
	const char *advice = "raise tolerance_percent or level_ms, or leave that level out of option levels";

	if (found.full)
		run_end(run, VERDICT_INVALID, "the pool could not be kept at " INT64_FORMAT " %% utilization: " INT64_FORMAT " clients a second that take %.1f ms each are %.1f at once, and the level leaves %d connection%s to them: lower rate, or leave that level out of option levels",
				wanted, run->options.rate, found.request_ms, found.under_way, found.left, found.left == 1 ? "" : "s");
	run->too_busy = found.percent > wanted && found.request_ms > SLOW_REQUEST_MS && run->target->in_process &&
		run->options.workload[0] == '\0' && clock_set_text(run) == NULL;
	if (run->too_busy)
		run_end(run, VERDICT_INVALID, "the machine was too busy: a request with its query took %.0f ms on average, and the pool was at %.0f %% utilization instead of " INT64_FORMAT " %%: %s",
				found.request_ms, found.percent, wanted, advice);
	run_end(run, VERDICT_INVALID, "the pool could not be kept at " INT64_FORMAT " %% utilization, it was at %.0f %%: %s",
			wanted, found.percent, advice);
}

static void
latency_play(Run *run)
{
	const Levels *levels = &run->options.levels;
	int			off = -1;
	Level		missed = {0};

	run_disturb(run, CHAOS_GENTLE); /* it must find its connections open */
	if (run->target->in_process)
		cost(run);				/* that of another server is reached over the network */
	run_disturb(run, CHAOS_ALL);
	for (int i = 0; i < levels->n; i++)
	{
		double		share = level_share(run_capacity(run), levels->percent[i]);
		Level		found = level(run, (int) levels->percent[i]);

		if (fabs(found.percent - 100 * share) <= run->options.tolerance_percent && !found.full)
			continue;
		off = i;
		missed = found;
	}
	if (off >= 0 && !check_failed(run))
		level_missed(run, levels->percent[off], missed);
}

static void
latency_require(const Options *options)
{
	require_time_for(options, options->levels.n * options->level_ms);
	for (int i = 0; i < options->levels.n; i++)
	{
		int64		percent = options->levels.percent[i];
		int64		capacity = options->pool_size + options->max_overflow;

		if (percent < 1 || percent > 100 || fabs(100 * level_share(capacity, percent) - percent) > options->tolerance_percent)
			options_contradict("Levels of this scenario are from 1 to 100, within tolerance_percent of a whole number of connections.",
							   "a pool of " INT64_FORMAT " connections cannot be kept at " INT64_FORMAT " %% utilization",
							   capacity, percent);
	}
}

const Scenario scenario_latency = {
	.name = "latency",
	.summary = "how long it takes to get a connection, at rising utilization",
	.effect = "opens pool_size + max_overflow connections, and keeps them busy",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {10, 10, 10}, .inherits = true},
		{OPTION_max_overflow, {5, 5, 5}, .inherits = true},
		{OPTION_pool_timeout_ms, {5000, 5000, 5000}, .inherits = true},
		POOL_OPTIONS,
		{OPTION_levels, .levels = {5, {20, 50, 80, 90, 100}}},
		{OPTION_level_ms, {400, 10 * 1000, 600 * 1000}},
		{OPTION_work_ms, {10, 10, 10}},
		{OPTION_rate, {200, 200, 200}},
		{OPTION_arrivals, {ARRIVAL_POISSON}},
		{OPTION_latency_limit_ms, {2000, 2000, 2000}},
		{OPTION_latency_limit_percent, {80, 80, 80}},
		{OPTION_tolerance_percent, {15, 15, 15}, .inherits = true},
		{OPTION_drivers},
		{OPTION_END}
	},
	.require = latency_require,
	.play = latency_play,
};

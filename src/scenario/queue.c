/*
 * queue.c
 *		More operations than connections: who waits, in which order they are
 *		served, and when they are sent away.
 */
#include "postgres.h"

#include "story/story.h"

/* Of two who come to a pooler within that, either may be the first. */
#define SAME_TIME_US		(20 * 1000)

/* Time for logins and for the loop, where no option sets it. */
#define SETTLE_TIMEOUT_MS	(10 * 1000)

/*
 * The loads of one phase, and what the pool said of its queue at each turn.  It
 * outlives the phase: who has found no end by then may yet be served.
 */
typedef struct Line
{
	Load	   *loads[2];
	int			nloads;
	GrantOrder	order;
	int			ended;			/* operations, so far */
	uint64		wrong;			/* the length of the queue was not the truth */
	int			longest;
} Line;

/* n clients who want to do one operation of that length each. */
static Load *
line_add(Run *run, Line *line, int64 n, int64 ms)
{
	LoadConfig	config = load_of(run, &run->parties[0]);

	load_work(run, &config, ms);
	config.clients = (int) n;
	config.operations = 1;
	config.order = &line->order;
	return line->loads[line->nloads++] = load_create(&config);
}

/* Compares what is published with what the clients know; true when all are done. */
static bool
line_step(Run *run, Line *line)
{
	int			asking = 0;
	bool		over = true;

	run_publish(run);
	line->ended = 0;
	for (int i = 0; i < line->nloads; i++)
	{
		asking += line->loads[i]->asking;
		line->ended += line->loads[i]->ended;
		over &= load_is_over(line->loads[i]);
	}
	line->wrong += run->parties[0].published.waiting != asking;
	line->longest = Max(line->longest, asking);
	return over;
}

static Tally *
line_tally(const Line *line)
{
	Tally	   *sum = palloc0(sizeof(Tally));

	for (int i = 0; i < line->nloads; i++)
	{
		tally_merge(sum, &line->loads[i]->calm);
		sum->asked += line->loads[i]->turned_away;
	}
	return sum;
}

/* How many find no place in the queue either, of n who come at once. */
static int64
expected_refusals(const Run *run, int64 n, int free)
{
	int64		max_waiting = run->options.max_waiting;

	return max_waiting > 0 ? Max(n - free - max_waiting, 0) : 0;
}

/*
 * Those who come now come later than those before, also by the clock of a pooler:
 * all of those wait there already, or are served.
 */
static void
line_part(Run *run, Line *line)
{
	const Options *options = &run->options;

	if (!run->target->counts_itself)
		return;
	line->order.slack_us = SAME_TIME_US;
	poll_until(run, run_pool_state(run).said_waiting >= options->long_operations - run_capacity(run),
			   options->long_ms / 2);
	wait_until(run, false, SAME_TIME_US / 1000);
}

/* Long operations take all connections, quick ones stand in line behind them. */
static Tally *
line_up(Run *run)
{
	const Options *options = &run->options;
	int64		n = options->long_operations + options->quick_operations;
	const ChaosToll *toll = &run->parties[0].toll;
	Line	   *line = palloc0(sizeof(Line));
	Tally	   *tally;

	phase(run, "line up");
	line_add(run, line, options->long_operations, options->long_ms);
	line_add(run, line, options->quick_operations, 0);
	run_progress(run, &line->ended, (int) n);
	load_begin(line->loads[0]);
	line_part(run, line);
	load_begin(line->loads[1]);
	wait_until(run, line_step(run, line),
			   options->pool_timeout_ms + 2 * options->long_ms + options->tolerance_ms + run_chaos_ms(run));
	tally = line_tally(line);
	phase_end(run);
	phase_note(run, UINT64_FORMAT " operations, up to %d waited, at most %.2f s   %s",
			   tally->asked, line->longest, histogram_max_ms(&tally->wait) / 1000.0,
			   latency_text(&tally->wait));

	check_at_most(run, "connections in use at the most", run_capacity(run),
				  run_peak(run), "", "the pool handed out more than its capacity");
	if (run->target->counts_itself && line->longest > 0)
		check_at_least(run, "in use while others waited", options->pool_size, run->pool->stats.peak_held, "",
					   "clients wait although the pool is not used up: the server refuses the pooler (see the pooler's log, and CONNECTION LIMIT there)");
	else if (run->pool->stats.peak_held < run_capacity(run))
		run_end(run, VERDICT_INVALID, "the pool was never full: at most %d of %d connections were in use at once",
				run->pool->stats.peak_held, run_capacity(run));
	check_count(run, "granted out of turn", 0, line->order.overtaken,
				"somebody who asked later was served first: the queue is not first in, first out");
	check_count(run, "wrong lengths of the queue", 0, line->wrong,
				"the pool and its clients disagree on how many wait: do not trust its metrics");
	check_all_ended(run, "requests without an end", tally);
	check_count(run, "refused at once", expected_refusals(run, n, run_capacity(run)), tally->refused,
				run->target->ledger
				? "see option max_waiting, and pool_exhaust_refused_services for logins that the server refused"
				: failure_text(run->pool));
	check_chaos(run, "operations that failed", 0, toll_ended(toll) + toll->done[CHAOS_DELAY], tally->failed + tally->unserved,
				failure_text(run->pool));
	return tally;
}

/* The pooler counts those who wait, too. */
static void
check_said_waiting(Run *run, int64 n)
{
	int			said;

	poll_until(run, (said = run_pool_state(run).said_waiting) == n, run->options.pool_timeout_ms / 2);
	check_count(run, "waiting by the pooler's own count", n, said,
				"the pooler's console and its clients disagree on how many wait: see cl_waiting in SHOW POOLS");
}

/* All connections are held, so that whoever asks now waits in vain. */
static void
time_out(Run *run, Tally *before)
{
	const Options *options = &run->options;
	int64		n = options->quick_operations;
	int64		refused = expected_refusals(run, n, 0);
	Line	   *line = palloc0(sizeof(Line));
	Tally	   *tally;

	phase(run, "time out");
	run_disturb(run, CHAOS_GENTLE); /* all that are held must stay so */
	pool_acquire_many(run->pool, run_capacity(run));
	wait_until(run, run->pool->stats.opening == 0 && run->pool->stats.wanted == 0, SETTLE_TIMEOUT_MS);
	require_held(run, run_capacity(run));
	line_add(run, line, n, 0);
	run_progress(run, &line->ended, (int) n);
	load_begin(line->loads[0]);
	if (run->target->counts_itself)
		check_said_waiting(run, n);
	wait_until(run, line_step(run, line), options->pool_timeout_ms + options->tolerance_ms);
	tally = line_tally(line);
	phase_end(run);
	phase_note(run, UINT64_FORMAT " timed out, after %.0f to %.0f ms", tally->timed_out,
			   tally->shortest_timeout_us / 1000.0, tally->longest_timeout_us / 1000.0);

	check_count(run, "timed out", n - refused, tally->timed_out,
				"somebody waits longer than pool_timeout_ms, or was served by a pool that is full");
	tally_merge(tally, before);
	if (tally->timed_out == 0)
		return;
	check_at_least(run, "earliest timeout", options->pool_timeout_ms,
				   tally->shortest_timeout_us / 1000.0, "ms",
				   "a request was sent away before its time");
	check_at_most(run, "latest timeout", options->pool_timeout_ms + options->tolerance_ms,
				  tally->longest_timeout_us / 1000.0, "ms",
				  "a request waited longer than it was promised, or the machine is overloaded");
}

/* Everything comes back, and is there for the next one. */
static void
come_back(Run *run)
{
	PoolStats  *stats = &run->pool->stats;
	Oid			role = run->parties[0].role;
	PoolState	truth;
	uint64		granted;

	phase(run, "return");
	pool_release_many(run->pool, stats->held);
	wait_until(run, stats->held == 0 && stats->wanted == 0 && stats->opening == 0, SETTLE_TIMEOUT_MS);
	granted = stats->granted;
	pool_acquire_many(run->pool, 1);
	wait_until(run, stats->granted > granted, SETTLE_TIMEOUT_MS);
	granted = stats->granted - granted;
	pool_release_many(run->pool, 1);
	pool_read_state(run->pool, &truth);
	if (run->target->counts_itself)
		poll_until(run, (truth = run_pool_state(run)).said_in_use == 0, SETTLE_TIMEOUT_MS);
	else
		poll_until(run, sessions_in_activity(run, role) <= truth.idle, SETTLE_TIMEOUT_MS);
	phase_end(run);
	phase_note(run, "%d back, " UINT64_FORMAT " let in again, %d idle", run_capacity(run), granted, truth.idle);

	check_count(run, "connections not given back", 0, truth.in_use,
				"an operation kept its connection: look for ways out of it that do not release");
	if (run->target->counts_itself)
		check_count(run, "in use by the pooler's own count", 0, truth.said_in_use,
					"the pooler has not got back what its clients gave: see sv_active in SHOW POOLS");
	else
		check_count(run, "idle connections in the server", truth.idle, sessions_in_activity(run, role),
					"the pool and the server disagree: see pool_exhaust_backends");
	check_count(run, "granted after the return", 1, granted, "the pool does not serve any more");
}

static void
queue_play(Run *run)
{
	time_out(run, line_up(run));
	come_back(run);
}

static void
queue_require(const Options *options)
{
	int64		n = options->long_operations + options->quick_operations;
	int64		most = options->pool_size + options->max_overflow;

	require_time_for(options, options->long_ms + options->pool_timeout_ms);
	if (n <= most)
		options_contradict("Raise long_operations or quick_operations beyond pool_size + max_overflow.",
						   INT64_FORMAT " operations do not queue for " INT64_FORMAT " connections",
						   n, most);
}

const Scenario scenario_queue = {
	.name = "queue",
	.summary = "long operations take every connection of a pool, quick ones wait behind them",
	.effect = "opens pool_size + max_overflow connections",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.options = (const OptionDefault[]) {
		{"pool_size", {3, 3, 3}, .inherits = true},
		{"max_overflow", {2, 2, 2}, .inherits = true},
		{"pool_timeout_ms", {500, 5000, 5000}, .inherits = true},
		POOL_OPTIONS,
		{"long_operations", {10, 10, 100}, .inherits = true},
		{"quick_operations", {5, 5, 50}, .inherits = true},
		{"long_ms", {150, 2000, 200}},
		{"tolerance_ms", {300, 300, 300}, .inherits = true},
		{NULL}
	},
	.require = queue_require,
	.play = queue_play,
};

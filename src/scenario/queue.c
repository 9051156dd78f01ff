/*
 * queue.c
 *		More operations than connections: which ones wait, in which order they are
 *		granted a connection, and when they time out.
 */
#include "postgres.h"

#include "scenario/list.h"
#include "story/story.h"

/* Of two requests that reach a pooler within that time, or two that it grants, either may be the first: it may not run for a while. */
#define SAME_TIME_US		(100 * 1000)

/* Their order proves nothing about a pooler that was so late: it may have been so twice. */
#define LATE_US				(SAME_TIME_US / 2)

/* Its console is asked again when the answer is that old. */
#define ASKED_US			(10 * 1000)

/*
 * The loads of one phase, and the published length of the queue at each turn.  It
 * outlives the phase: a request without an end may be granted after it.
 */
typedef struct Queue
{
	Load	   *loads[2];
	int			nloads;
	GrantOrder	order;
	int			ended;			/* operations, so far */
	uint64		wrong;			/* times that the published length was wrong */
	int			longest;
} Queue;

/* Adds n clients that do one operation of that length each. */
static Load *
queue_add(Run *run, Queue *queue, int64 n, int64 ms)
{
	LoadConfig	config = load_of(run, &run->parties[0]);

	load_work(run, &config, ms);
	config.clients = (int) n;
	config.operations = 1;
	config.order = &queue->order;
	return queue->loads[queue->nloads++] = load_create(&config);
}

/* Compares what is published with what the clients know; true when all are done. */
static bool
queue_step(Run *run, Queue *queue)
{
	int			asking = 0;
	bool		over = true;

	run_publish(run);
	(void) pool_refresh(run->pool, loop_now_us() - ASKED_US);	/* a pooler: to find out how late it is */
	queue->ended = 0;
	for (int i = 0; i < queue->nloads; i++)
	{
		asking += queue->loads[i]->asking;
		queue->ended += queue->loads[i]->ended;
		over &= load_is_over(queue->loads[i]);
	}
	queue->wrong += run->parties[0].published.waiting != asking;
	queue->longest = Max(queue->longest, asking);
	return over;
}

static Tally *
queue_tally(const Queue *queue)
{
	Tally	   *sum = palloc0(sizeof(Tally));

	for (int i = 0; i < queue->nloads; i++)
	{
		tally_merge(sum, &queue->loads[i]->calm);
		sum->asked += queue->loads[i]->over_limit;
	}
	return sum;
}

/* Returns how many of n requests at once are beyond the limit of the queue. */
static int64
expected_refusals(const Run *run, int64 n, int free)
{
	int64		max_waiting = run->options.max_waiting;

	return max_waiting > 0 ? Max(n - free - max_waiting, 0) : 0;
}

/*
 * Waits until all requests so far are granted or wait, also in a pooler, so that
 * those made from now on are later by its clock too.
 */
static void
queue_settle(Run *run, Queue *queue)
{
	const Options *options = &run->options;
	PoolState	truth;

	if (!run->target->counts_itself)
		return;
	queue->order.slack_us = SAME_TIME_US + run->pool->clock_error_us;
	queue->order.together = run_capacity(run) - 1;
	queue->order.lately = palloc0(sizeof(GrantedRequest) * queue->order.together);
	poll_until(run, (truth = run_pool_state(run), truth.said_waiting + truth.said_in_use >= options->long_operations),
			   options->long_ms / 2);
	linger_until(run, ((void) queue_step(run, queue), false), SAME_TIME_US / 1000);
}

/*
 * No client waits while the pooler has connections left.  Ends the run as invalid
 * if it has none by its own count, and the run has not got them all: others have.
 * Drivers say in turns what they hold, but at the end of the load the most of each.
 */
static void
check_used_up(Run *run, const Queue *queue)
{
	int			size = (int) run->options.pool_size;
	int			held = Max(run->pool->stats.peak_held, queue->loads[0]->peak_holding);
	int			said = run_peak(run);

	if (held < size && said >= size && !check_failed(run))
		run_end(run, VERDICT_INVALID, "clients of others use this pool: %d of its %d connections were in use by the pooler's own count, but no more than %d by this run; run it while they are gone, or with a user or database of its own",
				said, run_capacity(run), held);
	check_at_least(run, "in use while requests wait", size, held, "",
				   psprintf("clients wait, but no more than %d of %d connections were in use, %d by the pooler's own count: its log says why it opens no more",
							held, size, said));
}

/* Long operations take all connections, quick ones wait behind them. */
static Tally *
queue_up(Run *run)
{
	const Options *options = &run->options;
	int64		n = options->long_operations + options->quick_operations;
	int64		refused = expected_refusals(run, n, run_capacity(run));
	const ChaosCounts *counts = &run->parties[0].chaos_counts;
	Queue	   *queue = palloc0(sizeof(Queue));
	Tally	   *tally;

	phase(run, "queue");
	queue_add(run, queue, options->long_operations, options->long_ms);
	queue_add(run, queue, options->quick_operations, 0);
	run_progress(run, &queue->ended, (int) n);
	load_begin(queue->loads[0]);
	queue_settle(run, queue);
	load_begin(queue->loads[1]);
	wait_until(run, queue_step(run, queue),
			   options->pool_timeout_ms + 2 * options->long_ms + options->tolerance_ms + run_chaos_ms(run) + run->pool->lag_ms);
	order_judge(&queue->order);
	tally = queue_tally(queue);
	phase_note(run, UINT64_FORMAT " operations, up to %d waited, at most %.2f s   %s",
			   tally->asked, queue->longest, histogram_max_ms(&tally->wait) / 1000.0,
			   phase_latency(run, "wait", &tally->wait));

	check_peak(run, NULL, run_peak(run));
	if (run->target->counts_itself && queue->longest > 0)
		check_used_up(run, queue);
	else if (run->pool->stats.peak_held < run_capacity(run))
	{
		/* Where a login takes longer than an operation, the machine is slow. */
		run->too_busy = histogram_max_ms(&tally->connect) >= options->long_ms;
		run_end(run, VERDICT_INVALID, "the pool was never full: at most %d of %d connections were in use at once, and logins took up to %.0f ms; raise long_ms beyond that, or long_operations",
				run->pool->stats.peak_held, run_capacity(run), histogram_max_ms(&tally->connect));
	}
	check_fifo(run, NULL, &queue->order);
	if (queue->order.slack_us > 0)
		check_was_of_delay(run, LATE_US);
	check_count(run, "wrong queue lengths", 0, queue->wrong,
				"the pool and its clients disagree on how many requests wait: do not trust its metrics");
	check_all_ended(run, NULL, tally);
	check_count(run, "refused at once", refused, tally->refused,
				tally->refused < refused ? "requests beyond max_waiting wait: the pool does not keep to that limit"
				: run->target->ledger
				? "requests that may wait were refused: pool_exhaust_refused_services has the logins that the server refused"
				: failure_text(run, run->pool));
	check_chaos(run, "operations that failed", 0, chaos_sessions_ended(counts) + counts->done[CHAOS_DELAY], tally->failed + tally->unserved,
				failure_text(run, run->pool));
	return tally;
}

/* As many requests wait by the count of the pooler. */
static void
check_pooler_waiting(Run *run, int64 n)
{
	int			said;

	poll_until(run, (said = run_pool_state(run).said_waiting) == n, run->options.pool_timeout_ms / 2);
	check_count(run, "waiting by the pooler's own count", n, said,
				"the pooler's console and its clients disagree on how many wait: see cl_waiting in SHOW POOLS");
}

/* All connections are held, so that each request times out. */
static void
time_out(Run *run, Tally *before)
{
	const Options *options = &run->options;
	int64		n = options->quick_operations;
	int64		refused = expected_refusals(run, n, 0);
	Queue	   *queue = palloc0(sizeof(Queue));
	Tally	   *tally;

	phase(run, "time out");
	run_disturb(run, CHAOS_GENTLE); /* all that are held must stay so */
	run_hold(run, run_capacity(run));
	queue_add(run, queue, n, 0);
	run_progress(run, &queue->ended, (int) n);
	load_begin(queue->loads[0]);
	if (run->target->counts_itself)
		check_pooler_waiting(run, n);
	wait_until(run, queue_step(run, queue), options->pool_timeout_ms + options->tolerance_ms + run->pool->lag_ms);
	tally = queue_tally(queue);
	phase_note(run, UINT64_FORMAT " timed out, after %.0f to %.0f ms", tally->timed_out,
			   tally->shortest_timeout_us / 1000.0, tally->longest_timeout_us / 1000.0);

	check_timed_out(run, NULL, n - refused, tally);
	tally_merge(tally, before);
	check_timeout_times(run, NULL, tally);
}

/* All connections are released, and one is granted again. */
static void
release(Run *run)
{
	PoolStats  *stats = &run->pool->stats;
	PoolState	truth;
	uint64		granted;
	int			sessions = 0;

	phase(run, "release");
	run_hold(run, 0);
	granted = stats->granted;
	pool_acquire_many(run->pool, 1);
	wait_until(run, stats->granted > granted, settle_ms(run));
	granted = stats->granted - granted;
	pool_release_many(run->pool, 1);
	if (run->target->counts_itself)
		poll_until(run, (truth = run_pool_state(run)).said_in_use == 0, settle_ms(run));
	else
		poll_until(run, (sessions = sessions_and_state(run, &truth)) <= truth.idle, settle_ms(run));
	phase_note(run, "%d released, " UINT64_FORMAT " granted again, %d idle", run_capacity(run), granted, truth.idle);

	check_all_released(run, NULL, truth.in_use);
	if (run->target->counts_itself)
		check_count(run, "in use by the pooler's own count", 0, truth.said_in_use,
					"the pooler has not taken back what its clients released: see sv_active in SHOW POOLS");
	else
		check_count(run, "idle connections in the server", truth.idle, sessions,
					"the pool and the server disagree: see pool_exhaust_backends");
	check_count(run, "granted after the release", 1, granted, "the pool does not grant connections any more");
}

static void
queue_play(Run *run)
{
	time_out(run, queue_up(run));
	release(run);
}

static void
queue_require(const Options *options)
{
	int64		n = options->long_operations + options->quick_operations;
	int64		most = options->pool_size + options->max_overflow;

	require_time_for(options, options->long_ms + options->pool_timeout_ms);
	if (n <= most)
		options_contradict("Raise long_operations or quick_operations beyond pool_size + max_overflow.",
						   INT64_FORMAT " operations do not wait for " INT64_FORMAT " connections",
						   n, most);
}

const Scenario scenario_queue = {
	.name = "queue",
	.summary = "long operations take every connection of a pool, quick ones wait behind them",
	.effect = "opens pool_size + max_overflow connections",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {3, 3, 3}, .inherits = true},
		{OPTION_max_overflow, {2, 2, 2}, .inherits = true},
		{OPTION_pool_timeout_ms, {500, 5000, 5000}, .inherits = true},
		POOL_OPTIONS,
		{OPTION_long_operations, {10, 10, 100}, .inherits = true},
		{OPTION_quick_operations, {5, 5, 50}, .inherits = true},
		{OPTION_long_ms, {150, 2000, 200}},
		{OPTION_tolerance_ms, {300, 300, 300}, .inherits = true},
		{OPTION_drivers},
		{OPTION_END}
	},
	.require = queue_require,
	.play = queue_play,
};

/*
 * endtoend.c
 *		The life of an application and its pool in one run: calm, a rising load, a
 *		server that is full, a queue, overload, leaks, the healer, and calm again.
 *
 * The first service is the application with its pool; the second takes the
 * server's slots while that is full.  Each phase makes its own claims, and begins
 * with what the one before has left.
 */
#include "postgres.h"

#include "scenario/list.h"
#include "story/canary.h"
#include "story/scripted_session.h"

/* Clients while all is calm. */
#define CLIENTS				2

/* Clients in the queue, as a multiple of the connections. */
#define OVERLOAD				3

/* An operation is as fast as before if it takes no longer than so many times as long. */
#define AS_BEFORE_FACTOR	3
#define AS_BEFORE_MS		20

typedef struct Story
{
	Run		   *run;
	Canary	   *canary;
	double		calm_ms;		/* time of an operation in the first phase */
	ScriptedSession *leaks;		/* as many as the pool has connections */
	int			nleaks;
	Suspect    *suspects;
} Story;

/* Returns what the pool can do at best, in operations a second. */
static double
capacity_rate(const Story *story)
{
	return run_capacity(story->run) * 1000.0 / Max(story->calm_ms, 1);
}

/* ---------- Calm ---------- */

/* A few clients work; returns how long an operation takes, in ms. */
static double
calm(Story *story, const char *name, const char *claim)
{
	Run		   *run = story->run;
	int64		operations = run->options.operations;
	Tally	   *tally;
	Load	   *load;

	phase(run, name);
	load = clients_start(run, 0, CLIENTS, operations, run->options.work_ms);
	wait_until(run, load_is_over(load), settle_ms(run) + CLIENTS * operations * run->options.work_ms);
	tally = load_tally(load);
	phase_note(run, UINT64_FORMAT " operations   %s", tally->succeeded, phase_latency(run, "response", &tally->response));
	check_count(run, claim, CLIENTS * operations, tally->succeeded, failure_text(run, run->pool));
	check_was_of_time(run);
	return histogram_ms(&tally->response, 0.50);
}

/* ---------- Ramp ---------- */

/* The load rises to what the pool can just serve. */
static void
ramp(Story *story)
{
	Run		   *run = story->run;
	const Options *options = &run->options;
	Arrival		arrival = {
		.kind = ARRIVAL_RAMP,
		.rate = capacity_rate(story) * options->load_percent / 100,
		.duration_us = options->level_ms * 1000,
	};
	Tally	   *tally;

	phase(run, "ramp");
	tally = load_tally(arrivals_play(run, &arrival));
	phase_note(run, "up to %.0f/s: " UINT64_FORMAT " of " UINT64_FORMAT " succeeded, up to %d of %d in use   %s",
			   arrival.rate, tally->succeeded, tally->asked, run->pool->stats.peak_held, run_capacity(run),
			   phase_latency(run, "response", &tally->response));
	check_at_least(run, "ramp: peak in use, lower bound", Min(CLIENTS + 1, run_capacity(run)), run->pool->stats.peak_held, "",
				   "the load did not reach the pool: raise load_percent or level_ms");
	check_was_of_time(run);
	check_peak(run, "ramp", run->pool->stats.peak_held);
	check_all_ended(run, "ramp", tally);
	check_count(run, "ramp: not granted", 0, tally_not_granted(tally),
				"requests were refused or timed out below the capacity of the pool: raise pool_timeout_ms");
	check_was_of_time(run);
}

/* ---------- Saturated ---------- */

static PoolState
server_read_state(Story *story)
{
	PoolState	truth;

	pool_read_state(story->run->parties[1].pool, &truth);
	return truth;
}

/* Acquires every slot that is left, but for those that are reserved; true when none is. */
static bool
server_full(Story *story)
{
	Pool	   *server = story->run->parties[1].pool;
	PoolState	truth = server_read_state(story);
	int			left = truth.capacity - run_fault(story->run, FAULT_KEEP_SLOT) - truth.in_use;

	if (server->stats.opening > 0 || server->stats.wanted > 0)
		return false;
	if (left > 0)
		pool_acquire_many(server, left);
	return left <= 0 && truth.ours <= server->stats.held;
}

/* Releases the slots. */
static void
server_empty(Story *story)
{
	Run		   *run = story->run;
	Pool	   *server = run->parties[1].pool;

	pool_release_many(server, server->stats.held - run_fault(run, FAULT_LEAVE_SESSION));
	poll_until(run, server_read_state(story).ours <= server->stats.held, settle_ms(run));
	check_sessions_left(run, "saturated: sessions left", server_read_state(story).ours);
}

/* The server is full when the pool wants to grow. */
static void
saturate_server(Story *story)
{
	Run		   *run = story->run;
	int			more = (int) run->options.max_overflow;
	LoginCounts before = run_logins(run);
	Tally	   *tally;
	PoolState	truth;
	Load	   *load;

	poll_until(run, server_full(story), settle_ms(run));
	truth = server_read_state(story);
	load = clients_start(run, 0, more, 1, 0);
	wait_until(run, (server_full(story), load_is_over(load)), run->options.pool_timeout_ms + settle_ms(run));
	tally = load_end(run, load, 0);
	run_await_logins(run);
	if (run_fault(run, FAULT_MISCOUNT))
		before.refused--;
	poll_until(run, run->parties[1].judge.health == HEALTH_EXHAUSTED, settle_ms(run));
	phase_note(run, "%d of %d slots in use, %s; %d in use by the pool, " UINT64_FORMAT " more refused: %s",
			   truth.in_use, truth.capacity, health_names[run->parties[1].judge.health],
			   run->pool->stats.held, tally->refused, phase_causes_text(run));
	check_count(run, "saturated: slots in use", truth.capacity, Min(truth.in_use, truth.capacity),
				psprintf("the server is not full, %d slots are left: see pool_exhaust_slots", truth.capacity - truth.in_use));
	if (tally->refused < more && run->options.bystanders != BYSTANDERS_REFUSE)
		check_skip(run, "saturated: refused", "sessions of others ended, and left slots to the pool");
	else
	{
		check_count(run, "saturated: refused", more, tally->refused,
					psprintf(UINT64_FORMAT " were granted and " UINT64_FORMAT " timed out: a pool that cannot grow refuses requests; see pool_exhaust_slots for room that was left, and raise pool_timeout_ms if logins are slow",
							 tally->granted, tally->timed_out));
		check_was_of_time(run); /* a client may wait no longer when its login is refused */
	}
	check_logins_since(run, "saturated", &before);
	server_empty(story);
}

/* All that the pool keeps is in use, and it cannot open more. */
static void
saturate(Story *story)
{
	Run		   *run = story->run;
	int			keeps = (int) run->options.pool_size;

	phase(run, "saturated");
	run_await_logins(run);		/* a session that was opened too late is closed */
	run_hold(run, keeps);
	if (run->parties[1].pool->type->exclusive)
		saturate_server(story);
	else
		check_skip(run, "saturated: slots in use", "on a pool of its own the run leaves the server's slots alone");
	run_hold(run, 0);
}

/* ---------- Queue ---------- */

/* More clients than connections, granted in the order of their requests. */
static Tally *
queue_up(Story *story)
{
	Run		   *run = story->run;
	const Options *options = &run->options;
	Load	   *load = clients_start(run, 0, OVERLOAD * run_capacity(run), 1, options->long_ms);
	Tally	   *tally = load_end(run, load, OVERLOAD * options->long_ms + options->pool_timeout_ms + options->tolerance_ms);

	check_peak(run, "queue", run->pool->stats.peak_held);
	check_fifo(run, "queue", &load->order);
	check_all_ended(run, "queue", tally);
	return tally;
}

/* Nothing is released, and all requests time out. */
static Tally *
queue_time_out(Story *story)
{
	Run		   *run = story->run;
	const Options *options = &run->options;
	Tally	   *tally;
	Load	   *load;

	run_hold(run, run_capacity(run));
	load = clients_start(run, 0, run_capacity(run), 1, 0);
	tally = load_end(run, load, options->pool_timeout_ms + options->tolerance_ms);
	check_timed_out(run, "queue", run_capacity(run), tally);
	check_timeout_times(run, "queue", tally);
	pool_release_many(run->pool, run->pool->stats.held);
	wait_until(run, load_is_over(load) && run->pool->stats.held == 0, settle_ms(run));
	return tally;
}

static void
queue(Story *story)
{
	Run		   *run = story->run;
	Tally	   *served;
	Tally	   *away;

	phase(run, "queue");
	served = queue_up(story);
	if (check_failed(run))
		return;					/* a request without an end would disturb all that follows */
	away = queue_time_out(story);
	phase_note(run, UINT64_FORMAT " granted in order, after %.0f ms at most; " UINT64_FORMAT " timed out after %.0f to %.0f ms",
			   served->granted, histogram_max_ms(&served->wait), away->timed_out,
			   away->shortest_timeout_us / 1000.0, away->longest_timeout_us / 1000.0);
}

/* ---------- Degraded ---------- */

/* In bursts the load is more than the pool can serve. */
static void
degrade(Story *story)
{
	Run		   *run = story->run;
	double		rate = capacity_rate(story) * run->options.load_percent / 200;
	double		burst_rate = capacity_rate(story) * run->options.burst_percent / 100;
	Tally	   *tally;

	phase(run, "degraded");
	run_disturb(run, CHAOS_ALL);
	tally = load_tally(bursts_play(run, rate, burst_rate));
	run_disturb(run, CHAOS_DELAYS);
	phase_note(run, "%.0f/s, in bursts %.0f/s: " UINT64_FORMAT " of " UINT64_FORMAT " succeeded, " UINT64_FORMAT " had to wait   %s",
			   rate, burst_rate, tally->succeeded, tally->asked, tally->queued,
			   phase_latency(run, "response", &tally->response));
	require_waits(run, tally);
	check_load(run, "degraded", tally, 0);
}

/* ---------- Leak and heal ---------- */

static int
suspected(Story *story)
{
	int			n = run_suspects(story->run, story->suspects, story->nleaks);

	for (int i = 0; i < Min(n, story->nleaks); i++)
		n -= story->suspects[i].rule != LEAK_IDLE_IN_TRANSACTION;
	return n;
}

/* Transactions that their clients never end take all connections. */
static void
leak(Story *story)
{
	Run		   *run = story->run;
	int			found = 0;
	uint64		begun_us;

	phase(run, "leak");
	run_watch_leaks(run);
	story->nleaks = run_capacity(run);
	story->leaks = palloc(sizeof(ScriptedSession) * story->nleaks);
	story->suspects = palloc(sizeof(Suspect) * story->nleaks);
	for (int i = 0; i < story->nleaks; i++)
	{
		story->leaks[i] = i % 2 == 0 ? leak_open : leak_aborted;
		scripted_session_take(&story->leaks[i], run->pool);
	}
	scripted_sessions_require(run, story->leaks, story->nleaks);
	begun_us = loop_now_us();
	run_progress(run, &found, story->nleaks);
	poll_until(run, (found = suspected(story)) >= story->nleaks, run->options.leak_threshold_ms + settle_ms(run));
	phase_end(run);
	phase_note(run, "%d transactions left open, %d found after %.2f s; %s", story->nleaks, found,
			   (loop_now_us() - begun_us) / 1e6, health_names[run->parties[0].judge.health]);
	check_count(run, "leak: found idle in transaction", story->nleaks, found,
				found < story->nleaks
				? psprintf("%d leaks of the run were not found: pool_exhaust_leak_rules says when each rule can fire", story->nleaks - found)
				: psprintf("%d sessions are suspected that are no leaks: see pool_exhaust_leaks", found - story->nleaks));
	check_text(run, "leak: health of the pool", health_names[HEALTH_EXHAUSTED], health_names[run->parties[0].judge.health],
			   "a pool without a free connection is not reported as exhausted: see pool_exhaust_pools");
}

static int
leaks_ended(const Story *story)
{
	return scripted_sessions_lost(story->leaks, story->nleaks, true);
}

/* The healer ends the leaks. */
static void
heal(Story *story)
{
	Run		   *run = story->run;
	char	   *strategies;
	int			acts;
	Phase	   *p = phase(run, "heal");

	run_heal(run, STRATEGIES_OF_TRANSACTIONS);
	wait_until(run, leaks_ended(story) == story->nleaks && run->parties[0].judge.health == HEALTH_HEALTHY,
			   run->options.recovery_limit_ms);
	acts = run_healed(run, &strategies);
	phase_end(run);
	phase_note(run, "%d ended: %s; %s after %.2f s", acts, acts > 0 ? strategies : "none",
			   health_names[run->parties[0].judge.health], p->elapsed_us / 1e6);
	check_healed(run, "heal: sessions ended", story->nleaks, acts);
	check_count(run, "heal: leaks that are left", 0, story->nleaks - leaks_ended(story),
				"a leak was left: see pool_exhaust_heal(), and the server log for what the healer did");
	check_text(run, "heal: health of the pool", health_names[HEALTH_HEALTHY], health_names[run->parties[0].judge.health],
			   "the pool is not healthy again: see pool_exhaust_pools");
}

/* ---------- The story ---------- */

/* Operations are as fast as in the beginning, and nothing is kept. */
static void
calm_again(Story *story)
{
	Run		   *run = story->run;
	double		ms = calm(story, "calm again", "calm again: operations");
	PoolState	truth;

	pool_read_state(run->pool, &truth);
	check_at_most(run, "calm again: an operation takes", story->calm_ms * AS_BEFORE_FACTOR + AS_BEFORE_MS, ms, "ms",
				  "operations are slower than at the beginning: see waiting in pool_exhaust_pools");
	check_all_released(run, "calm again", truth.in_use);
	canary_check(run, story->canary, run->options.response_limit_ms);
}

/* After a phase that has failed the others would prove nothing. */
static void
endtoend_play(Run *run)
{
	static void (*const phases[]) (Story *story) = {
		ramp, saturate, queue, degrade, leak, heal, calm_again
	};
	Story	   *story = palloc0(sizeof(Story));

	story->run = run;
	run_disturb(run, CHAOS_DELAYS);
	story->canary = canary_open(run);
	story->calm_ms = calm(story, "calm", "calm: operations");
	for (int i = 0; i < lengthof(phases) && !check_failed(run); i++)
		phases[i] (story);
}

static void
endtoend_require(const Options *options)
{
	require_time_for(options, options->level_ms + options->sustained_ms + options->leak_threshold_ms);
	if (options->max_overflow < 1)
		options_contradict("Raise max_overflow.", "a pool without max_overflow never wants more of the server than it has");
	if (options->burst_ms >= options->burst_every_ms || options->burst_every_ms > options->sustained_ms)
		options_contradict("Lower burst_ms or burst_every_ms, or raise sustained_ms.",
						   "no burst of " INT64_FORMAT " ms every " INT64_FORMAT " ms ends within " INT64_FORMAT " ms",
						   options->burst_ms, options->burst_every_ms, options->sustained_ms);
	if ((OVERLOAD - 1) * options->long_ms >= options->pool_timeout_ms)
		options_contradict("Lower long_ms, or raise pool_timeout_ms.",
						   "the last of %d in a queue waits %d times " INT64_FORMAT " ms, longer than pool_timeout_ms",
						   OVERLOAD, OVERLOAD - 1, options->long_ms);
}

const Scenario scenario_endtoend = {
	.name = "endtoend",
	.summary = "calm, a rising load, a full server, a queue, overload, leaks, the healer, and calm again",
	.effect = "opens pool_size + max_overflow + 2 connections; target server: takes every slot that is not reserved, for a moment",
	.default_target = TARGET_SERVER,
	.targets = ON_SERVER | ON_POOL,
	.parties = 2,
	.pools = 1,
	.embedded = 1 << 0,
	.spare_sessions = CANARY_SESSIONS,
	.asks_monitor = true,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {4, 10, 10}},
		{OPTION_max_overflow, {2, 5, 5}},
		{OPTION_pool_timeout_ms, {500, 5000, 5000}},
		POOL_OPTIONS,
		{OPTION_operations, {20, 200, 2000}},
		{OPTION_work_ms, {10, 20, 20}},
		{OPTION_long_ms, {100, 1000, 1000}},
		{OPTION_load_percent, {80, 80, 80}},
		{OPTION_burst_percent, {150, 120, 120}},
		{OPTION_level_ms, {500, 10 * 1000, 600 * 1000}},
		{OPTION_sustained_ms, {800, 120 * 1000, 3600 * 1000}},
		{OPTION_burst_ms, {150, 10 * 1000, 10 * 1000}},
		{OPTION_burst_every_ms, {400, 40 * 1000, 60 * 1000}},
		{OPTION_success_percent, {80, 80, 80}},
		{OPTION_response_limit_ms, {5000, 5000, 5000}},
		{OPTION_leak_threshold_ms, {500, 5000, 30 * 1000}},
		{OPTION_recovery_limit_ms, {20 * 1000, 60 * 1000, 120 * 1000}},
		{OPTION_tolerance_ms, {300, 300, 300}},
		{OPTION_END}
	},
	.require = endtoend_require,
	.play = endtoend_play,
};

/*
 * recovery.c
 *		A pool that leaks and stuck sessions have exhausted: the healer takes it
 *		back.  Then its sessions are killed at once, and clients vanish without a
 *		word: does it come back from that, too, and how fast?
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "observe/monitor/healer.h"
#include "observe/monitor/strategy.h"
#include "observe/slots/census.h"
#include "scenario/outage.h"
#include "shmem/monitor_status.h"
#include "story/scripted_session.h"

#define SETTLE_TIMEOUT_MS	(10 * 1000)
#define STRATEGIES_NEEDED ((1 << HEAL_ABORTED_TRANSACTION) | (1 << HEAL_IDLE_IN_TRANSACTION))
#define CLIENTS		2			/* of the load that goes on all the time */
#define TRIES		5			/* of each leak to get a connection */
#define VANISHING	4			/* clients that vanish, with sessions of their own */

/* An operation is as fast as before if it takes no longer than so many times as long. */
#define BASELINE_FACTOR	3
#define BASELINE_MS		20

typedef struct Recovery
{
	Run		   *run;
	Load	   *load;
	ScriptedSession	   *leaks;			/* as many as the pool has connections */
	int			nleaks;
	ScriptedSession		vanishing[VANISHING];
	double		baseline_ms;	/* response of an operation, when all was well */
	uint64		succeeded;		/* operations, at the begin of the phase */
	uint64		first_us;		/* when the first one of it did, 0 = none yet */
	uint64		normal_us;		/* and the first as fast as before */
	uint64		healthy_us;		/* and when health was healthy again */
} Recovery;

static uint64
load_succeeded(const Recovery *recovery)
{
	return recovery->load->calm.succeeded;
}

static void
load_start(Recovery *recovery)
{
	Run		   *run = recovery->run;
	LoadConfig	config = load_of(run, &run->parties[0]);

	load_work(run, &config, run->options.work_ms);
	config.clients = CLIENTS;
	recovery->load = load_create(&config);
	load_begin(recovery->load);
}

/* Some operations while all is well. */
static void
measure_baseline(Recovery *recovery)
{
	Run		   *run = recovery->run;
	const Tally *tally;

	phase(run, "baseline");
	load_start(recovery);
	wait_until(run, load_succeeded(recovery) >= run->options.operations, SETTLE_TIMEOUT_MS);
	phase_end(run);
	tally = &recovery->load->calm;
	if (load_succeeded(recovery) < run->options.operations)
		run_end(run, VERDICT_INVALID, "only " UINT64_FORMAT " of " INT64_FORMAT " operations succeeded to begin with: %s",
				load_succeeded(recovery), run->options.operations, failure_text(run->pool));
	recovery->baseline_ms = histogram_ms(&tally->response, 0.50);
	phase_note(run, UINT64_FORMAT " operations   %s", tally->succeeded, latency_text(&tally->response));
}

/*
 * One transaction has failed and one is open, holding a lock that others wait
 * for; and so on, until nothing is left.
 */
static void
cast(Recovery *recovery)
{
	Run		   *run = recovery->run;
	char	   *lock = psprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", MyProcPid,
								(int) (run->entry->run_id & PG_INT32_MAX));
	char	   *holder = psprintf("BEGIN; %s", lock);

	recovery->nleaks = run_capacity(run);
	recovery->leaks = palloc0(sizeof(ScriptedSession) * recovery->nleaks);
	recovery->leaks[0] = (ScriptedSession) {.sql = holder, .leaks = LEAK_IDLE_IN_TRANSACTION};
	for (int i = 1; i < recovery->nleaks; i++)
	{
		static const ScriptedSession open = {.sql = "BEGIN; SELECT 1", .leaks = LEAK_IDLE_IN_TRANSACTION};
		static const ScriptedSession aborted = {.sql = "BEGIN; SELECT 1 / 0", .leaks = LEAK_IDLE_IN_TRANSACTION};
		ScriptedSession		stuck = {.sql = lock, .lasts = true, .gives_back = true};

		recovery->leaks[i] = i % 3 == 1 ? aborted : i % 3 == 2 ? stuck : open;
	}
}

static int
scripted_sessions_count(const Recovery *recovery, bool leaks)
{
	int			n = 0;

	for (int i = 0; i < recovery->nleaks; i++)
		n += (recovery->leaks[i].leaks != LEAK_NONE) == leaks;
	return n;
}

/* On a busy machine it may wait in vain for the load beside it, and then asks again. */
static void
leak_take(Recovery *recovery, ScriptedSession *leak)
{
	int			tries = 0;

	do
	{
		leak->failed = false;
		scripted_session_take(leak, recovery->run->pool);
		wait_until(recovery->run, leak->at_work || scripted_session_failed(leak, 1), SETTLE_TIMEOUT_MS);
	} while (leak->failed && ++tries < TRIES);
}

/* Everything is leaked or stuck, so that others wait in vain. */
static void
exhaust(Recovery *recovery)
{
	Run		   *run = recovery->run;
	const PoolStats *stats = &run->pool->stats;
	uint64		timed_out;

	phase(run, "exhaust");
	for (int i = 0; i < recovery->nleaks; i++)
		leak_take(recovery, &recovery->leaks[i]);
	timed_out = stats->timed_out;
	wait_until(run, run->parties[0].judge.health == HEALTH_EXHAUSTED && stats->timed_out >= timed_out + CLIENTS,
			   2 * run->options.pool_timeout_ms + SETTLE_TIMEOUT_MS);
	phase_end(run);
	if (scripted_session_failed(recovery->leaks, recovery->nleaks) || stats->timed_out < timed_out + CLIENTS)
		run_end(run, VERDICT_INVALID, "the pool could not be exhausted: %d of %d connections in use, " UINT64_FORMAT " requests timed out",
				stats->held, run_capacity(run), stats->timed_out - timed_out);
	phase_note(run, "%d leaked, %d stuck behind them, " UINT64_FORMAT " timed out, %s",
			   scripted_sessions_count(recovery, true), scripted_sessions_count(recovery, false), stats->timed_out - timed_out,
			   health_names[run->parties[0].judge.health]);
}

/* From now on it is counted how long it takes. */
static void
recovery_begin(Recovery *recovery, const char *name)
{
	phase(recovery->run, name);
	recovery->succeeded = load_succeeded(recovery);
	recovery->first_us = recovery->normal_us = recovery->healthy_us = 0;
}

/* Is everything as it was before?  Notes when that began to be so. */
static bool
recovered(Recovery *recovery)
{
	Run		   *run = recovery->run;
	uint64		now_us = loop_now_us();
	double		normal_ms = recovery->baseline_ms * BASELINE_FACTOR + BASELINE_MS;

	if (recovery->first_us == 0 && load_succeeded(recovery) > recovery->succeeded)
		recovery->first_us = now_us;
	if (recovery->normal_us == 0 && load_succeeded(recovery) > recovery->succeeded &&
		recovery->load->last_us / 1000.0 <= normal_ms)
		recovery->normal_us = now_us;
	if (recovery->healthy_us == 0 && run->parties[0].judge.health == HEALTH_HEALTHY)
		recovery->healthy_us = now_us;
	return recovery->first_us != 0 && recovery->normal_us != 0 && recovery->healthy_us != 0;
}

static bool
leaks_ended(const Recovery *recovery)
{
	int			n = 0;

	for (int i = 0; i < recovery->nleaks; i++)
		n += recovery->leaks[i].leaks != LEAK_NONE && recovery->leaks[i].lost;
	return n == scripted_sessions_count(recovery, true);
}

/* How many of those who waited for the lock have not got it, or were ended? */
static int
scripted_sessions_stuck(const Recovery *recovery)
{
	int			n = 0;

	for (int i = 0; i < recovery->nleaks; i++)
		n += recovery->leaks[i].gives_back && (!recovery->leaks[i].done || recovery->leaks[i].lost);
	return n;
}

static double
since_ms(uint64 begun_us, uint64 at_us)
{
	return at_us != 0 ? (at_us - begun_us) / 1000.0 : INFINITY;
}

static const char *
since_text(uint64 begun_us, uint64 at_us)
{
	return at_us != 0 ? psprintf("after %.2f s", since_ms(begun_us, at_us) / 1000) : "never";
}

/* What must be true after the leaks and after the kill; the phase is over. */
static void
check_recovered(Recovery *recovery, uint64 begun_us, const char *first, const char *normal)
{
	Run		   *run = recovery->run;
	double		limit_ms = run->options.recovery_limit_ms;

	check_at_most(run, first, limit_ms, since_ms(begun_us, recovery->first_us), "ms",
				  "nobody got a connection again: see pool_exhaust_heals and pool_exhaust_leaks");
	check_at_most(run, normal, limit_ms, since_ms(begun_us, recovery->normal_us), "ms",
				  "operations stay slower than before");
}

static void
heal(Recovery *recovery)
{
	Run		   *run = recovery->run;
	Oid			roles[RUN_PARTIES_MAX];
	int			nroles = run_roles(run, roles);
	uint64		since = heal_log_now();
	uint64		begun_us;
	int			acts;
	char	   *strategies;

	recovery_begin(recovery, "heal");
	begun_us = loop_now_us();
	run_heal(run, STRATEGIES_NEEDED);
	wait_until(run, recovered(recovery) & leaks_ended(recovery) & (scripted_sessions_stuck(recovery) == 0),
			   run->options.recovery_limit_ms);
	strategies = heal_log_text(roles, nroles, since, &acts);
	phase_end(run);
	phase_note(run, "%d ended: %s; first success %s, healthy %s", acts, acts > 0 ? strategies : "-",
			   since_text(begun_us, recovery->first_us), since_text(begun_us, recovery->healthy_us));

	check_recovered(recovery, begun_us, "first success after the leaks", "as fast as before the leaks");
	check_at_most(run, "healthy after the leaks", run->options.recovery_limit_ms,
				  since_ms(begun_us, recovery->healthy_us), "ms", "the pool stays ill: see pool_exhaust_pools");
	check_count(run, "sessions that the healer ended", scripted_sessions_count(recovery, true), acts,
				"it ended more or fewer than the leaks: see pool_exhaust_heals");
	check_text(run, "strategies in their order", strategies_text(STRATEGIES_NEEDED), strategies,
			   "see pool_exhaust.heal_strategies and pool_exhaust.heal_exclude_roles");
	check_count(run, "stuck sessions that did not go on", 0, scripted_sessions_stuck(recovery),
				"a session that waited for a lock was ended, or still waits");
}

static bool
any_is_there(Oid role, const int *pids, int n)
{
	for (int i = 0; i < n; i++)
		if (census_has_session(role, pids[i]))
			return true;
	return false;
}

/* The server ends every session of the pool, whatever it does. */
static void
kill_all(Recovery *recovery)
{
	Run		   *run = recovery->run;
	Oid			role = run->parties[0].role;
	int		   *pids = palloc(sizeof(int) * MaxConnections);
	uint64		lost = run->pool->stats.lost;
	uint64		begun_us;
	int			n;

	recovery_begin(recovery, "kill");
	wait_until(run, run->pool->stats.held == CLIENTS, SETTLE_TIMEOUT_MS);
	begun_us = loop_now_us();
	n = sessions_terminate(role, pids);
	poll_until(run, !any_is_there(role, pids, n) && run->pool->stats.lost > lost, SETTLE_TIMEOUT_MS);
	lost = run->pool->stats.lost - lost;
	recovery->succeeded = load_succeeded(recovery);
	recovery->first_us = recovery->normal_us = recovery->healthy_us = 0;
	wait_until(run, recovered(recovery), run->options.recovery_limit_ms);
	phase_end(run);
	phase_note(run, "%d sessions ended at once, " UINT64_FORMAT " of them in use; first success %s",
			   n, lost, since_text(begun_us, recovery->first_us));

	if (lost == 0)
		run_end(run, VERDICT_INVALID, "no connection was in use when the sessions were killed");
	check_recovered(recovery, begun_us, "first success after the kill", "as fast as before the kill");
	pfree(pids);
}

/* How many slots the role has beside those of the pool. */
static int
residual_slots(Run *run)
{
	const PoolStats *stats = &run->pool->stats;
	PoolState	truth;

	pool_read_state(run->pool, &truth);
	return census_role_sessions(run->parties[0].role, NULL, 0) - stats->held - truth.idle - stats->opening;
}

/* Clients die in the middle of their statements: their slots are lost for a while. */
static void
vanish(Recovery *recovery)
{
	Run		   *run = recovery->run;
	char	   *sql = psprintf("SELECT pg_catalog.pg_sleep(%.3f)", run->options.vanish_ms / 1000.0);
	ScriptedSession	   *vanishing = recovery->vanishing;
	uint64		begun_us;
	int			lost;

	phase(run, "vanish");
	for (int i = 0; i < VANISHING; i++)
	{
		vanishing[i] = (ScriptedSession) {.sql = sql, .lasts = true};
		scripted_session_open(run, &run->parties[0], &vanishing[i]);
	}
	wait_until(run, (scripted_sessions_at_work(vanishing, VANISHING) && run->pool->stats.opening == 0) ||
			   scripted_session_failed(vanishing, VANISHING), SETTLE_TIMEOUT_MS);
	if (scripted_session_failed(vanishing, VANISHING))
		run_end(run, VERDICT_INVALID, "the sessions of the clients that are to vanish could not be opened");
	for (int i = 0; i < VANISHING; i++)
		scripted_session_vanish(&vanishing[i]);
	begun_us = loop_now_us();
	lost = residual_slots(run);
	if (lost < VANISHING)
		run_end(run, VERDICT_INVALID, "only %d of %d slots were lost to the clients that vanished: raise vanish_ms",
				lost, VANISHING);
	poll_until(run, residual_slots(run) <= 0, run->options.vanish_ms + run->options.recovery_limit_ms);
	phase_end(run);
	phase_note(run, "%d clients vanished, %d slots were lost to them for %.2f s", VANISHING, lost,
			   (loop_now_us() - begun_us) / 1e6);
	phase_figure(run, "slots_lost", lost);
	phase_figure(run, "slots_lost_ms", (loop_now_us() - begun_us) / 1000.0);

	check_count(run, "residual slots", 0, Max(residual_slots(run), 0),
				"slots stay taken by clients that are gone: client_connection_check_interval would free them sooner");
}

/* All is as it was. */
static void
finish(Recovery *recovery)
{
	Run		   *run = recovery->run;
	uint64		succeeded;
	uint64		acts = toll_acts(&run->parties[0].toll);
	Tally	   *before = palloc(sizeof(Tally));
	Tally	   *after = palloc(sizeof(Tally));

	phase(run, "after");
	load_tally(recovery->load, before);
	wait_until(run, load_succeeded(recovery) >= before->succeeded + run->options.operations, SETTLE_TIMEOUT_MS);
	load_end(run, recovery->load, SETTLE_TIMEOUT_MS);
	load_tally(recovery->load, after);
	succeeded = after->succeeded - before->succeeded;
	phase_end(run);
	phase_note(run, UINT64_FORMAT " operations succeeded", succeeded);
	check_chaos(run, "operations that failed afterwards", 0, toll_acts(&run->parties[0].toll) - acts,
				after->failed + tally_sent_away(after) - before->failed - tally_sent_away(before),
				failure_text(run->pool));
	check_at_least(run, "operations that succeeded afterwards", run->options.operations, succeeded, "",
				   failure_text(run->pool));
}

static void
recovery_play(Run *run)
{
	Recovery   *recovery = palloc0(sizeof(Recovery));

	if (!run->target->terminates)
	{
		outage_play(run);
		return;
	}
	recovery->run = run;
	run_watch_leaks(run);
	measure_baseline(recovery);
	run_disturb(run, CHAOS_DELAYS); /* the leaks must last, and none may look like one */
	cast(recovery);
	exhaust(recovery);
	heal(recovery);
	if (check_failed(run))
		return;					/* nothing else can be tried on a pool that is full of leaks */
	run_disturb(run, CHAOS_ALL);
	kill_all(recovery);
	if (check_failed(run))
		return;
	run_disturb(run, CHAOS_NONE);	/* each slot is counted */
	vanish(recovery);
	run_disturb(run, CHAOS_ALL);
	finish(recovery);
}

static void
recovery_require(const Options *options)
{
	require_time_for(options, options->leak_threshold_ms + options->vanish_ms);
	if (options->pool_size + options->max_overflow < 3)
		options_contradict("Raise pool_size or max_overflow.",
						   "an open transaction, a failed one and a session that waits for the first need three connections");
}

const Scenario scenario_recovery = {
	.name = "recovery",
	.summary = "leaks and stuck sessions exhaust a pool, the healer takes it back; sessions are killed, clients vanish",
	.effect = "opens pool_size + max_overflow + 4 connections, and ends them; "
	"a foreign server: waits for somebody to restart it",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.heals = true,
	.spare_sessions = VANISHING,
	.options = (const OptionDefault[]) {
		{"pool_size", {4, 4, 10}, .inherits = true},
		{"max_overflow", {2, 2, 10}, .inherits = true},
		{"pool_timeout_ms", {200, 1000, 1000}, .inherits = true},
		POOL_OPTIONS,
		{"operations", {20, 100, 1000}},
		{"work_ms", {10, 50, 50}},
		{"leak_threshold_ms", {800, 5000, 30000}},
		{"vanish_ms", {500, 5000, 30000}},
		{"outage_ms", {10000, 60000, 600000}},
		{"recovery_limit_ms", {20000, 60000, 120000}},
		{NULL}
	},
	.require = recovery_require,
	.play = recovery_play,
};

/*
 * recovery.c
 *		Connections are lost; do clients work again, and how fast?
 *
 * A pool of this server loses them in three ways: leaks and lock waits use it up
 * until the healer ends the leaks; all sessions are terminated at once; clients
 * close their sockets in the middle of a statement.  A foreign server is used by
 * others, so there the run waits until it is restarted, and measures from the
 * first operation that this broke.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "load/failure.h"
#include "load/target/probe.h"
#include "observe/slots/census.h"
#include "scenario/list.h"
#include "story/scripted_session.h"

#define CLIENTS		2			/* of the load that goes on all the time */
#define VANISHING	4			/* clients that vanish, with sessions of their own */

/* An operation is as fast as before if it takes no longer than so many times as long. */
#define BASELINE_FACTOR	3
#define BASELINE_MS		20
#define BASELINE_FOREIGN_MS	50	/* over the network */

typedef struct Recovery
{
	Run		   *run;
	Load	   *load;
	ScriptedSession *leaks;		/* as many as the pool has connections */
	int			nleaks;
	ScriptedSession vanishing[VANISHING];
	double		normal_ms;		/* an operation that takes no longer is as fast as before */
	uint64		begun_us;		/* when connections broke */
	uint64		succeeded;		/* operations by then */
	uint64		first_us;		/* when the first one after that did, 0 = none yet */
	uint64		fast_us;		/* and the first as fast as before */
	uint64		healthy_us;		/* and when the pool was healthy again */
} Recovery;

static uint64
operations_succeeded(const Recovery *recovery)
{
	return recovery->load->calm.succeeded;
}

/* Operations that failed, or were not granted a connection. */
static uint64
operations_failed(const Recovery *recovery)
{
	const Tally *tally = &recovery->load->calm;

	return tally->failed + tally_not_granted(tally);
}

/* The time of an operation before anything is broken. */
static void
baseline(Recovery *recovery)
{
	Run		   *run = recovery->run;
	int64		operations = run->options.operations;
	const Tally *tally;

	phase(run, "baseline");
	recovery->load = clients_start(run, 0, CLIENTS, 0, run->options.work_ms);
	tally = &recovery->load->calm;
	wait_until(run, operations_succeeded(recovery) >= operations, settle_ms(run));
	phase_end(run);
	if (operations_succeeded(recovery) < operations || (!run->target->terminates && operations_failed(recovery) > 0))
		run_end(run, VERDICT_INVALID, "only " UINT64_FORMAT " of " INT64_FORMAT " operations succeeded to begin with: %s",
				operations_succeeded(recovery), operations, failure_text(run, run->pool));
	recovery->normal_ms = histogram_ms(&tally->response, 0.50) * BASELINE_FACTOR +
		(run->target->terminates ? BASELINE_MS : BASELINE_FOREIGN_MS);
	phase_note(run, UINT64_FORMAT " operations   %s", tally->succeeded, phase_latency(run, "response", &tally->response));
}

/*
 * The sessions that use up the pool: a transaction that holds a lock, then in turn
 * one that has failed, a session that waits for the lock, and one that is open.
 */
static void
leaks_make(Recovery *recovery)
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
		ScriptedSession stuck = {.sql = lock, .lasts = true, .releases = true};

		recovery->leaks[i] = i % 3 == 1 ? leak_aborted : i % 3 == 2 ? stuck : leak_open;
	}
}

/* Every connection is leaked or waits for a lock, so that requests time out. */
static void
exhaust(Recovery *recovery)
{
	Run		   *run = recovery->run;
	const PoolStats *stats = &run->pool->stats;
	uint64		timed_out;

	run_disturb(run, CHAOS_DELAYS); /* the leaks must last, and nothing else may be suspected */
	leaks_make(recovery);
	phase(run, "exhaust");
	for (int i = 0; i < recovery->nleaks; i++)
	{
		scripted_session_take(&recovery->leaks[i], run->pool);
		scripted_sessions_wait(run, &recovery->leaks[i], 1);
	}
	timed_out = stats->timed_out;
	wait_until(run, run->parties[0].judge.health == HEALTH_EXHAUSTED && stats->timed_out >= timed_out + CLIENTS,
			   2 * run->options.pool_timeout_ms + settle_ms(run));
	phase_end(run);
	if (scripted_session_failed(recovery->leaks, recovery->nleaks) || stats->timed_out < timed_out + CLIENTS)
		run_end(run, VERDICT_INVALID, "the pool could not be exhausted: %d of %d connections in use, " UINT64_FORMAT " requests timed out; a full pool must let requests time out: check pool_timeout_ms, max_overflow and, of a pooler, its pool size",
				stats->held, run_capacity(run), stats->timed_out - timed_out);
	phase_note(run, "%d leaked, %d wait for their lock, " UINT64_FORMAT " timed out, %s",
			   scripted_sessions_count(recovery->leaks, recovery->nleaks, true),
			   scripted_sessions_count(recovery->leaks, recovery->nleaks, false), stats->timed_out - timed_out,
			   health_names[run->parties[0].judge.health]);
}

/* Connections break now: measures from here how long the recovery takes. */
static void
recovery_begin(Recovery *recovery)
{
	recovery->begun_us = loop_now_us();
	recovery->succeeded = operations_succeeded(recovery);
	recovery->first_us = recovery->fast_us = recovery->healthy_us = 0;
}

/* Sets "at_us" when the condition holds for the first time; returns whether it has held. */
static bool
note_first(uint64 *at_us, bool condition)
{
	if (*at_us == 0 && condition)
		*at_us = loop_now_us();
	return *at_us != 0;
}

/*
 * Returns whether an operation has succeeded again, one has been as fast as before,
 * and the pool has been healthy; notes when each of these was so first.
 */
static bool
recovered(Recovery *recovery)
{
	Run		   *run = recovery->run;
	bool		again = operations_succeeded(recovery) > recovery->succeeded;

	return note_first(&recovery->first_us, again) &
		note_first(&recovery->fast_us, again && recovery->load->last_us / 1000.0 <= recovery->normal_ms) &
		note_first(&recovery->healthy_us, !run->target->terminates || run->parties[0].judge.health == HEALTH_HEALTHY);
}

/* Returns how many of the sessions that waited for the lock have not got it, or were ended. */
static int
lock_waits_left(const Recovery *recovery)
{
	int			n = 0;

	for (int i = 0; i < recovery->nleaks; i++)
		n += recovery->leaks[i].releases && (!recovery->leaks[i].done || recovery->leaks[i].lost);
	return n;
}

static double
since_ms(const Recovery *recovery, uint64 at_us)
{
	return at_us != 0 ? (at_us - recovery->begun_us) / 1000.0 : INFINITY;
}

static const char *
since_text(const Recovery *recovery, uint64 at_us)
{
	return at_us != 0 ? psprintf("after %.2f s", since_ms(recovery, at_us) / 1000) : "never";
}

/* Clients work again, as fast as before, within recovery_limit_ms; the phase is over. */
static void
check_recovered(Recovery *recovery, const char *loss)
{
	Run		   *run = recovery->run;
	double		limit_ms = run->options.recovery_limit_ms;

	check_at_most(run, psprintf("first success after the %s", loss), limit_ms,
				  since_ms(recovery, recovery->first_us), "ms",
				  run->target->terminates ? "no client was granted a connection again: see pool_exhaust_heals and pool_exhaust_leaks"
				  : "no client was granted a connection again: see server_login_retry of PgBouncer, and the log of the target");
	check_at_most(run, psprintf("as fast as before the %s", loss), limit_ms,
				  since_ms(recovery, recovery->fast_us), "ms", "operations stay slower than before: see pool_exhaust_backends for sessions that hold locks or connections, or raise recovery_limit_ms");
}

/* The healer ends the leaks, and clients work again. */
static void
heal(Recovery *recovery)
{
	Run		   *run = recovery->run;
	int			leaks = scripted_sessions_count(recovery->leaks, recovery->nleaks, true);
	int			acts;
	char	   *strategies;

	phase(run, "heal");
	recovery_begin(recovery);
	run_heal(run, STRATEGIES_OF_TRANSACTIONS);
	wait_until(run, recovered(recovery) && lock_waits_left(recovery) == 0 &&
			   scripted_sessions_lost(recovery->leaks, recovery->nleaks, true) == leaks,
			   run->options.recovery_limit_ms);
	acts = run_healed(run, &strategies);
	phase_note(run, "%d ended: %s; first success %s, healthy %s", acts, acts > 0 ? strategies : "none",
			   since_text(recovery, recovery->first_us), since_text(recovery, recovery->healthy_us));

	check_recovered(recovery, "leaks");
	check_at_most(run, "healthy after the leaks", run->options.recovery_limit_ms,
				  since_ms(recovery, recovery->healthy_us), "ms", "the pool is not healthy again: see pool_exhaust_pools");
	check_healed(run, "sessions that the healer ended", leaks, acts);
	check_text(run, "strategies in their order", strategies_text(STRATEGIES_OF_TRANSACTIONS), strategies,
			   "see pool_exhaust.heal_strategies and pool_exhaust.heal_exclude_roles");
	check_was_of_time(run);
	check_count(run, "lock waits that did not end", 0, lock_waits_left(recovery),
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

/* The server ends every session of the pool, also in the middle of a statement. */
static void
kill_all(Recovery *recovery)
{
	Run		   *run = recovery->run;
	Oid			role = run->parties[0].role;
	int		   *pids;
	uint64		lost = run->pool->stats.lost;
	uint64		begun_us;
	int			n;

	run_disturb(run, CHAOS_ALL);
	phase(run, "kill");
	wait_until(run, run->pool->stats.held == CLIENTS, settle_ms(run));
	begun_us = loop_now_us();
	pids = sessions_terminate(role, &n);
	poll_until(run, !any_is_there(role, pids, n) && run->pool->stats.lost > lost, settle_ms(run));
	lost = run->pool->stats.lost - lost;
	recovery_begin(recovery);
	recovery->begun_us = begun_us;
	wait_until(run, recovered(recovery), run->options.recovery_limit_ms);
	phase_note(run, "%d sessions ended at once, " UINT64_FORMAT " of them in use; first success %s",
			   n, lost, since_text(recovery, recovery->first_us));
	check_recovered(recovery, "kill");
}

/* Returns how many slots the role has beside those of the pool. */
static int
residual_slots(Run *run)
{
	const PoolStats *stats = &run->pool->stats;
	PoolState	truth;

	pool_read_state(run->pool, &truth);
	return census_role_sessions(run->parties[0].role, NULL, 0) - stats->held - truth.idle - stats->opening;
}

/* Clients close their sockets in the middle of their statements: their slots are lost for a while. */
static void
vanish(Recovery *recovery)
{
	Run		   *run = recovery->run;
	char	   *sql = psprintf("SELECT pg_catalog.pg_sleep(%.3f)", run->options.vanish_ms / 1000.0);
	ScriptedSession *vanishing = recovery->vanishing;
	uint64		begun_us;
	int			lost;

	run_disturb(run, CHAOS_NONE);	/* each slot is counted */
	phase(run, "vanish");
	for (int i = 0; i < VANISHING; i++)
	{
		vanishing[i] = (ScriptedSession) {.sql = sql, .lasts = true};
		scripted_session_open(run, &run->parties[0], &vanishing[i]);
	}
	if (!scripted_sessions_wait(run, vanishing, VANISHING))
		run_end(run, VERDICT_INVALID, "the sessions of the clients that vanish could not be opened: %s",
				scripted_sessions_failure(run, vanishing, VANISHING));
	wait_until(run, run->pool->stats.opening == 0, settle_ms(run));
	for (int i = 0; i < VANISHING; i++)
		scripted_session_vanish(&vanishing[i]);
	begun_us = loop_now_us();
	lost = residual_slots(run);
	if (lost < VANISHING)
		run_end(run, VERDICT_INVALID, "only %d of %d slots were lost to the clients that vanished: raise vanish_ms",
				lost, VANISHING);
	poll_until(run, residual_slots(run) <= 0, run->options.vanish_ms + run->options.recovery_limit_ms);
	phase_note(run, "%d clients vanished, %d slots were lost to them for %.2f s", VANISHING, lost,
			   (loop_now_us() - begun_us) / 1e6);
	phase_figure(run, "slots_lost", lost);
	phase_figure(run, "slots_lost_ms", (loop_now_us() - begun_us) / 1000.0);

	check_count(run, "residual slots", 0, Max(residual_slots(run), 0),
				"slots stay taken by clients that are gone: client_connection_check_interval would free them sooner");
	run_disturb(run, CHAOS_ALL);
}

/* Returns why the last operation broke; "a statement failed" is all that an operation reports. */
static const char *
outage_reason(const Run *run)
{
	const Pool *pool = run->pool;
	const ConnectResult *failure = pool->lost_us >= run->phase_us ? &pool->last_loss : &pool->last_failure;

	return failure->message[0] == '\0' ? "a statement failed"
		: connect_failure_text(failure);
}

/* Waits until the target, or the server behind it, is restarted: operations fail by that. */
static void
outage(Recovery *recovery)
{
	Run		   *run = recovery->run;
	uint64		failed = operations_failed(recovery);
	Phase	   *p = phase(run, "outage");

	run_say(run, "%-8s waiting for %s, or the server behind it, to be restarted", p->name, run->request.target_name);
	phase_lasts(run, run->options.outage_ms);
	wait_until(run, operations_failed(recovery) > failed, run->options.outage_ms);
	recovery_begin(recovery);
	phase_end(run);
	if (operations_failed(recovery) == failed)
		run_end(run, VERDICT_INVALID, "nothing broke within " INT64_FORMAT " ms (option outage_ms): restart %s, or the server behind it, while the run waits for that",
				run->options.outage_ms, run->request.target_name);
	phase_note(run, "after %.2f s: %s", p->elapsed_us / 1e6, outage_reason(run));

	phase(run, "recover");
	wait_until(run, recovered(recovery) && recovery->load->restored == CLIENTS, run->options.recovery_limit_ms);
	phase_end(run);
	phase_figure(run, "first_success_ms", since_ms(recovery, recovery->first_us));
	phase_note(run, UINT64_FORMAT " operations broke; first success %s, as fast as before %s",
			   operations_failed(recovery) - failed, since_text(recovery, recovery->first_us),
			   since_text(recovery, recovery->fast_us));
	check_recovered(recovery, "outage");
}

/* A pooler has got back all connections, by its own count. */
static void
check_pooler_in_use(Run *run)
{
	PoolState	truth;

	poll_until(run, (truth = run_pool_state(run)).said_in_use == 0, settle_ms(run));
	check_count(run, "in use by the pooler's own count", 0, truth.said_in_use,
				"connections were lost in the outage: see sv_active in SHOW POOLS");
}

/* Operations succeed as in the beginning. */
static void
finish(Recovery *recovery)
{
	Run		   *run = recovery->run;
	int64		operations = run->options.operations;
	uint64		acts = chaos_acts_done(&run->parties[0].chaos_counts);
	uint64		failed = operations_failed(recovery);
	uint64		succeeded = operations_succeeded(recovery);

	phase(run, "after");
	wait_until(run, operations_succeeded(recovery) >= succeeded + operations, settle_ms(run));
	load_end(run, recovery->load, settle_ms(run));
	succeeded = operations_succeeded(recovery) - succeeded;
	phase_note(run, UINT64_FORMAT " operations succeeded", succeeded);
	check_chaos(run, "operations that failed afterwards", 0, chaos_acts_done(&run->parties[0].chaos_counts) - acts,
				operations_failed(recovery) - failed, failure_text(run, run->pool));
	check_at_least(run, "operations that succeeded afterwards", operations, succeeded, "",
				   failure_text(run, run->pool));
	if (!run->target->terminates)
		check_pooler_in_use(run);
}

/* The ways of losing connections, in turn; after one that has failed the others would prove nothing. */
static void
recovery_play(Run *run)
{
	static void (*const own[]) (Recovery *recovery) = {exhaust, heal, kill_all, vanish, finish, NULL};
	static void (*const foreign[]) (Recovery *recovery) = {outage, finish, NULL};
	Recovery   *recovery = palloc0(sizeof(Recovery));

	recovery->run = run;
	if (run->target->terminates)
		run_watch_leaks(run);
	else
	{
		run_disturb(run, CHAOS_NONE);	/* what breaks is broken by the outage */
		run->parties[0].probe->returns = true;
	}
	baseline(recovery);
	for (int i = 0; (run->target->terminates ? own : foreign)[i] != NULL && !check_failed(run); i++)
		(run->target->terminates ? own : foreign)[i] (recovery);
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
	.summary = "leaks and lock waits exhaust a pool, the healer ends them; sessions are killed, clients vanish",
	.effect = "opens pool_size + max_overflow + 4 connections, and ends them; "
	"a foreign server: waits until it is restarted",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.heals = true,
	.asks_monitor = true,
	.patient = true,
	.spare_sessions = VANISHING,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {4, 4, 10}, .inherits = true},
		{OPTION_max_overflow, {2, 2, 10}, .inherits = true},
		{OPTION_pool_timeout_ms, {200, 1000, 1000}, .inherits = true},
		POOL_OPTIONS,
		{OPTION_operations, {20, 100, 1000}},
		{OPTION_work_ms, {10, 50, 50}},
		{OPTION_leak_threshold_ms, {800, 5000, 30000}},
		{OPTION_vanish_ms, {500, 5000, 30000}},
		{OPTION_outage_ms, {10000, 60000, 600000}},
		{OPTION_recovery_limit_ms, {20000, 60000, 120000}},
		{OPTION_END}
	},
	.require = recovery_require,
	.play = recovery_play,
};

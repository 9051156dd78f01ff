/*
 * saturation.c
 *		Fill a pool to its capacity, make more attempts, log in as a superuser
 *		over the reserved slots, release, make an attempt again.
 */
#include "postgres.h"

#include "load/failure.h"
#include "load/target/local_endpoint.h"
#include "scenario/list.h"
#include "story/story.h"

#define FILL_TIMEOUT_MS		(60 * 1000)
#define FILL_EACH_MS		5	/* or so long for each connection, if that is more */
#define ATTEMPT_TIMEOUT_MS	(5 * 1000)
#define LEAVE_TIMEOUT_MS	1000
#define SHUTDOWN_NOTICE_MS	500

/* From the test plan for pool exhaustion: a refusal is immediate. */
#define REFUSAL_LIMIT_MS	1000.0

/* Sessions of others end meanwhile; this often the run fills their slots. */
#define TRIES				5

/* Returns how many attempts of this run have ended. */
static uint64
ended(const Run *run)
{
	const PoolStats *stats = &run->pool->stats;

	return stats->granted + stats->refused + stats->failed;
}

static void
require_logins_work(Run *run)
{
	const ConnectResult *failure = &run->pool->last_failure;

	if (run->pool->stats.failed == 0)
		return;

	/* A server that shuts down ends logins before it signals this process. */
	linger_until(run, false, SHUTDOWN_NOTICE_MS);
	run_end(run, VERDICT_INVALID, "a login failed for another reason than capacity, see pg_hba.conf and the server log: %s",
			connect_failure_text(failure));
}

static void
baseline(Run *run)
{
	PoolState	truth;
	Health		health;

	phase(run, "baseline");
	truth = run_pool_state(run);
	health = run_sample(run);
	if (truth.in_use >= truth.capacity)
		run_end(run, VERDICT_INVALID, "nothing is left to fill: %d of %d connections are in use; end some of them (pool_exhaust_backends has their pids), or raise the limit",
				truth.in_use, truth.capacity);
	watch_begin(run);
	phase_note(run, "%d of %d in use, %.0f %%, %s", truth.in_use, truth.capacity,
			   100.0 * truth.in_use / truth.capacity, health_names[health]);
}

/* Returns the path of health from here when in_use goes up to capacity, palloc'd. */
static char *
path_up(Health last, int in_use, int capacity)
{
	StringInfoData path;

	initStringInfo(&path);
	health_path_add(&path, last);
	for (; in_use <= capacity; in_use++)
	{
		Health		health = health_of(in_use, capacity, false);

		if (health > last)
			health_path_add(&path, last = health);
	}
	return path.data;
}

/* Waits for "held" connections, or until it is clear that they will not come. */
static void
wait_for_held(Run *run, int held)
{
	PoolStats  *stats = &run->pool->stats;
	uint64		refused = stats->refused;

	wait_until(run, stats->held >= held || stats->refused > refused || stats->failed > 0 ||
			   (stats->wanted == 0 && stats->opening == 0), run_patience(run, Max(FILL_TIMEOUT_MS, held * FILL_EACH_MS)));
	require_logins_work(run);
}

/* Acquires as many connections as make "total", and no more than that. */
static void
ask_for(Run *run, int total)
{
	PoolStats  *stats = &run->pool->stats;
	int			n = total - stats->held - stats->wanted;
	int			max = run->request.held_max;

	if (max > 0 && total > max)
		run_end(run, VERDICT_INVALID, "the pool has %d connections left, more than the %d of pool_exhaust.max_connections_per_run: raise that",
				total, max);
	if (n > 0)
		pool_acquire_many(run->pool, n);
}

/* Takes a sample; a foreign server is asked first. */
static void
sample_now(Run *run)
{
	(void) run_pool_state(run);
	run_sample(run);
}

/*
 * Opens connections until "full" are in use, those of others included.  Each
 * level of health on the way is sampled, and the fill goes no further until the
 * monitor has noticed it.
 */
static void
fill_by_levels(Run *run, int full)
{
	PoolState	truth = run_pool_state(run);
	int			others = truth.in_use - truth.ours;

	run_progress(run, &run->pool->stats.held, full - others);
	for (Health health = HEALTH_WARNING; health < HEALTH_EXHAUSTED; health++)
	{
		int			level = health_level(health, truth.capacity);
		int			next = health_level(health + 1, truth.capacity);

		if (level >= next || level > full || next <= truth.in_use)
			continue;
		ask_for(run, Min(full, next - 1) - others);
		wait_for_held(run, level - others);
		sample_now(run);
		watch_reached(run, health);
		phase_paused(run, watch_wait(run, health, HEALTH_EXHAUSTED));
	}
	ask_for(run, full - others);
	wait_for_held(run, full - others);
	sample_now(run);
	watch_reached(run, HEALTH_EXHAUSTED);
}

/* Fills the slots that sessions of others have released. */
static void
top_up(Run *run, int full)
{
	const PoolStats *stats = &run->pool->stats;
	PoolState	truth = run_pool_state(run);

	if (truth.in_use >= full)
		return;
	if (run->target->may_vanish && stats->held == 0 && stats->lost > 0)
		run_end(run, VERDICT_INVALID, "%s has ended all connections of the run, see its log: %s", run->request.target_name,
				connect_failure_text(&run->pool->last_loss));
	ask_for(run, full - (truth.in_use - truth.ours));
	wait_for_held(run, full - (truth.in_use - truth.ours));
	pool_cancel(run->pool);
	wait_until(run, run->pool->stats.opening == 0, run_patience(run, ATTEMPT_TIMEOUT_MS));
}

/* The pool is full, by the count of the run, of the server and of pg_stat_activity. */
static void
check_full(Run *run)
{
	int			held = run->pool->stats.held;
	PoolState	truth = run_pool_state(run);

	/* Privileged sessions of others may have gone beyond capacity. */
	int			room = truth.ours + Max(truth.capacity - truth.in_use, 0);
	int			seen = sessions_seen(run, &run->parties[0]);

	check_count(run, "held connections", room, held,
				held < room
				? psprintf("%d connections fewer than there was room for: see pool_exhaust_slots, and the server log for logins that failed", room - held)
				: psprintf("%d connections more than the server has of the run: the server log says why their sessions have ended", held - room));
	check_count(run, "in use by the server's count", truth.capacity, Min(truth.in_use, truth.capacity),
				psprintf("the pool is not full, %d are left: see pool_exhaust_slots", truth.capacity - truth.in_use));
	check_count(run, run->target->activity ? "sessions in pg_stat_activity" : "sessions that the target shows", held, seen,
				seen < held
				? psprintf("%d sessions that are held are not there: the server log says why they have ended", held - seen)
				: psprintf("%d sessions are there that are not held any more: pool_exhaust_backends shows them", seen - held));
}

/* Fills the pool and returns the level it was filled to. */
static int
fill(Run *run)
{
	PoolState	truth = run_pool_state(run);
	char	   *expected_path = path_up(run->parties[0].judge.health, truth.in_use, truth.capacity);
	int			full = truth.capacity;
	Phase	   *p = phase(run, "fill");

	if (run_fault(run, FAULT_KEEP_SLOT))
		full--;
	if (run_fault(run, FAULT_NO_LIMIT) && run->pool->type->exclusive)
		full = Max(truth.in_use, full - (int) run->options.attempts);

	fill_by_levels(run, full);
	for (int i = 0; i < TRIES; i++)
		top_up(run, full);
	/* A target that cannot be asked does not report when the login of the preflight has gone. */
	if (run->parties[0].endpoint != NULL && run->parties[0].probe == NULL)
		wait_until(run, (top_up(run, full), run_pool_state(run).in_use >= full), run_patience(run, LEAVE_TIMEOUT_MS));
	run_sample(run);
	phase_end(run);
	phase_note(run, UINT64_FORMAT " granted in %.2f s, %.0f/s   %s",
			   p->granted, p->elapsed_us / 1e6, p->granted * 1e6 / p->elapsed_us, latency_text(&p->latency));

	check_full(run);
	check_text(run, "health on the way up", expected_path, run->health_path.data,
			   "health did not follow utilization: see pool_exhaust.warning_threshold and critical_threshold");
	return full;
}

/* One attempt; returns when it has ended. */
static void
attempt_one(Run *run)
{
	uint64		before = ended(run);

	pool_acquire_many(run->pool, 1);
	wait_until(run, ended(run) > before, run_patience(run, ATTEMPT_TIMEOUT_MS));
	/* One that waits longer than a login may is an attempt without an answer. */
	if (run->pool->last_failure.end != CONNECT_TIMED_OUT)
		require_logins_work(run);
}

/*
 * One attempt beyond capacity; returns the cause that it must be refused for.
 * To be sure of the cause it waits first until the attempt before has released
 * its slot.  If a session of others has ended meanwhile, its slot is filled first.
 */
static Cause
attempt_once(Run *run, int full)
{
	PoolState	truth;
	uint64		granted;

	for (int i = 0; i < TRIES; i++)
	{
		run_settle(run);
		top_up(run, full);
		truth = run_pool_state(run);
		granted = run->pool->stats.granted;
		attempt_one(run);
		/* Granted by a full pool that is no fuller now: a session of others has ended meanwhile. */
		if (run->pool->stats.granted == granted || truth.in_use < truth.capacity ||
			run_pool_state(run).in_use > truth.in_use)
			break;
	}
	return truth.full_cause;
}

static void
attempt(Run *run, int full)
{
	PoolStats  *stats = &run->pool->stats;
	int			attempts = run->options.attempts;
	int			done = 0;
	bool		known = true;	/* how the target refuses */
	int64		ledger = run_refusals_in_ledger(run);
	uint64		unanswered = logins_unanswered(run->pool);
	uint64		expected_by[CAUSES] = {0};
	char	   *causes;
	Phase	   *p = phase(run, "attempt");

	run_progress(run, &done, attempts);
	for (; done < attempts; done++)
	{
		Cause		cause = attempt_once(run, full);

		known &= cause != CAUSE_NONE;
		if (known)
			expected_by[cause]++;
		if (done == 0 && run_fault(run, FAULT_MISCOUNT))
		{
			stats->refused++;
			stats->refused_by[Max(run_pool_state(run).full_cause, 0)]++;
		}
	}
	run_progress(run, NULL, attempts);
	run_sample(run);
	causes = phase_causes_text(run);
	phase_end(run);
	phase_note(run, UINT64_FORMAT " refused   %s%s", p->refused, causes,
			   run->target->ledger || p->refused == 0 ? ""
			   : psprintf("   %s %s", run->pool->last_refusal.sqlstate, run->pool->last_refusal.message));
	if (p->refused == 0)
		run_end(run, VERDICT_INVALID,
				"nothing was refused: %d attempts beyond %d connections in use %s",
				attempts, full, p->granted > 0 ? "were granted; check the limit of the target, or its option capacity"
				: "got no answer: a client waits there when all are in use, so use scenario queue or backpressure");

	watch_wait(run, HEALTH_EXHAUSTED, HEALTH_EXHAUSTED);
	check_count(run, "refused attempts", attempts, p->refused,
				p->refused < attempts
				? psprintf("only " UINT64_FORMAT " of %d attempts beyond capacity were refused: see pool_exhaust_slots for room that was left, and the server log for logins that failed",
						   p->refused, attempts)
				: psprintf(UINT64_FORMAT " refusals of %d attempts: a refusal is counted twice; see pool_exhaust_refused_services for those that the server counted",
						   p->refused, attempts));
	if (known)
		check_text(run, "refusals by cause", causes_text(expected_by), causes,
				   "the refusals differ in cause or number from those that a full pool makes: see pool_exhaust_refused_services");
	else
		check_skip(run, "refusals by cause", "a server with option capacity does not report how it refuses");
	check_at_most(run, "slowest refusal", REFUSAL_LIMIT_MS + chaos_wait_ms(&run->parties[0].chaos_counts), stats->slowest_refusal_us / 1000.0, "ms",
				  "a client waits that long for its refusal: see late_p50_ms in the summary for how busy the machine was, and log_connections for how long logins take");
	check_ledger(run, NULL, p->refused, logins_unanswered(run->pool) - unanswered, run_refusals_in_ledger(run) - ledger);
}

/*
 * A superuser is still granted a session.  A run has no superuser of its own and
 * no password of one, so this tries the local endpoints that need none.
 */
static void
reserve(Run *run)
{
	static const char claim[] = "superuser granted";
	ConnectResult result = {CONNECT_BROKEN, CAUSE_NONE};
	const LocalEndpoint *local = NULL;
	ListCell   *lc;

	if (!run->target->superuser || run_pool_state(run).reserved == 0)
	{
		check_skip(run, claim, run->target->superuser ? "no slot is reserved for superusers here"
				   : "the run has no superuser on a foreign server");
		return;
	}
	run_settle(run);
	if (run_pool_state(run).reserved_free == 0)
	{
		check_skip(run, claim, "others use all reserved slots");
		return;
	}
	phase(run, "reserve");
	foreach(lc, local_endpoints_list(run->superuser, NULL, run->database, RUN_APPLICATION_NAME))
	{
		local = lfirst(lc);
		result = local_endpoint_try(&run->loop, local, InvalidOid, run_patience(run, ATTEMPT_TIMEOUT_MS), run_must_end, run);
		run_end_if_must(run);
		run->own_refused += result.end == CONNECT_REFUSED;
		if (result.end == CONNECT_GRANTED || result.end == CONNECT_REFUSED)
			break;
	}
	switch (result.end)
	{
		case CONNECT_GRANTED:
			phase_note(run, "1 superuser granted, %.1f ms", result.took_us / 1000.0);
			check_text(run, claim, "yes", "yes", "");
			break;
		case CONNECT_REFUSED:
			phase_note(run, "a superuser was refused");
			check_text(run, claim, "yes", cause_kinds[result.cause].name,
					   "no administrator can log in while the server is full: raise superuser_reserved_connections");
			break;
		default:
			phase_note(run, "not tried");
			check_skip(run, claim, psprintf("no superuser login without a password, last tried over %s",
											local != NULL ? local->name : "nothing"));
			break;
	}
}

/* Releases all; returns the health that the pool should come back to. */
static Health
release(Run *run, Health before)
{
	PoolState	truth = run_pool_state(run);
	Health		back = Max(before, health_after_worse(truth.in_use - truth.ours, truth.capacity));
	int			n = run->pool->stats.held;

	phase(run, "release");
	pool_release_many(run->pool, run_fault(run, FAULT_LEAVE_SESSION) ? n - 1 : n);
	check_closed(run, "sessions left after the release", n - run->pool->stats.held);
	check_count(run, "connections lost", 0, run->pool->stats.lost,
				"the server ended sessions of the run: its log has timeouts or terminations");

	watch_reached(run, back);
	poll_until(run, run->parties[0].judge.health <= back, settle_ms(run));
	check_text(run, "health after the release", health_names[back],
			   health_names[Max(back, run->parties[0].judge.health)],
			   "the pool did not recover: see pool_exhaust_pools");
	return back;
}

/* The monitor has noticed every level of health on the way up, and the way back. */
static void
recover(Run *run, Health first, Health back)
{
	static const char claim_up[] = "monitored health on the way up";
	static const char claim_back[] = "monitored health after release";
	static const char detail[] = "the monitor noticed it late or not at all: see pool_exhaust_timeline, and the server log for its changes of health";
	Watch	   *watch = &run->watch;

	if (watch->absent != NULL)
	{
		check_skip(run, claim_up, watch->absent);
		return;
	}
	phase(run, "recover");
	watch_wait(run, HEALTH_HEALTHY, back);
	phase_note(run, "noticed by the monitor: %s", watch_note(run));
	check_text(run, claim_up, path_up(first, 0, run->series.capacity), watch->path.data, detail);
	check_text(run, claim_back, health_names[back], health_names[Max(back, watch->health)], detail);
}

static void
attempt_again(Run *run)
{
	Phase	   *p = phase(run, "again");

	attempt_one(run);
	phase_end(run);
	phase_note(run, UINT64_FORMAT " granted", p->granted);
	check_count(run, "granted after the release", 1, p->granted,
				"the slots did not come back: see pool_exhaust_slots");
}

static void
saturation_play(Run *run)
{
	Health		before;
	Health		first;
	int			full;

	run_disturb(run, CHAOS_GENTLE); /* a pool that loses a session is not full any more */
	baseline(run);
	before = run->parties[0].judge.health;
	first = run->watch.health;
	full = fill(run);
	attempt(run, full);
	reserve(run);
	recover(run, first, release(run, before));
	attempt_again(run);
}

const Scenario scenario_saturation = {
	.name = "saturation",
	.summary = "fills a pool to its capacity, makes more attempts, and releases all",
	.effect = "target server: takes every slot that is not reserved, for about a second; "
	"target role: takes as many slots as option role_limit says; "
	"a foreign server: takes every connection that it grants",
	.default_target = TARGET_SERVER,
	.targets = ON_SERVER | ON_ROLE | ON_POSTGRES | ON_PGBOUNCER,
	.logins = true,
	.options = (const OptionDefault[]) {
		{OPTION_attempts, {10, 50, 1000}},
		{OPTION_role_limit, {10, 20, 20}},
		{OPTION_drivers},
		{OPTION_END}
	},
	.play = saturation_play,
};

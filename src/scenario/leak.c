/*
 * leak.c
 *		Operations that fail and release their connection; then leaks of every
 *		kind, beside sessions that are no leaks.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "observe/slots/census.h"
#include "scenario/list.h"
#include "shmem/monitor_status.h"
#include "story/scripted_session.h"

#define ROUNDS				5

/* The scripted sessions of the first service; its pool has work beside them. */
typedef enum Part
{
	IN_TRANSACTION,				/* leaks, of the pool */
	ABORTED,
	ABANDONED,
	DEAD,						/* with a session of its own */
	REPORT,						/* no leaks, with sessions of their own */
	LISTENER
} Part;

#define PARTS		(LISTENER + 1)
#define POOL_PARTS	(ABANDONED + 1)

/* What ends those that it leaks, but for the dead client's. */
#define STRATEGIES_OF_LEAKS (STRATEGIES_OF_TRANSACTIONS | (1 << HEAL_ABANDONED) | (1 << HEAL_GROWTH))

/* Clients that work: one of the second service, and some of the first. */
#define WORKERS		4
#define OF_SECOND	0
#define POOL_WORKERS (WORKERS - 1)

/* The second service opens sessions and never uses them again, that many at the most. */
#define FORGOTTEN_MAX	16

typedef struct Story
{
	Run		   *run;
	ScriptedSession parts[PARTS + FORGOTTEN_MAX];
	ScriptedSession *forgotten; /* the last of those ... */
	int			forgettable;	/* ... as many as make a growth */
	int			nparts;			/* in all */
	int			nforgotten;		/* so far */
	int			healable;		/* leaks that the healer may end ... */
	int			leaks;			/* ... and all of them, the dead client too */
	uint64		next_us;		/* when the next one of those is due */
	uint64		lost;			/* connections in use that were ended before the leaks */
	Load	   *workers[WORKERS];
	Suspect		suspects[FORGOTTEN_MAX + PARTS];	/* as far as there is room */
	int			nsuspects;
} Story;

/* One round of operations; returns what became of them, palloc'd. */
static Tally *
operate_once(Run *run, int64 seed)
{
	const Options *options = &run->options;
	LoadConfig	config = load_of(run, &run->parties[0]);
	Load	   *load;

	load_work(run, &config, options->work_ms);
	config.seed = seed;
	config.clients = (int) Min(options->operations, POOL_PARTS);	/* opens a connection for each leak */
	config.operations = (int) ((options->operations + config.clients - 1) / config.clients);
	load = load_start(run, &config);
	wait_until(run, load_is_over(load), options->pool_timeout_ms * config.operations + settle_ms(run));
	return load_tally(load);
}

/*
 * Operations, some of which fail: each releases its connection.  Of twenty
 * none may be drawn to fail; then there is another round.
 */
static void
operate(Run *run)
{
	const Options *options = &run->options;
	PoolState	truth;
	Tally	   *tally;
	int			sessions = 0;

	phase(run, "operate");
	tally = operate_once(run, options->seed);
	for (int i = 1; i < ROUNDS && tally->failing == 0 && options->failing_percent > 0; i++)
		tally = operate_once(run, options->seed + i);
	run_disturb(run, CHAOS_DELAYS); /* a session that chaos ends or stalls is no leak */
	poll_until(run, (sessions = sessions_and_state(run, &truth)) <= truth.idle + truth.in_use, settle_ms(run));
	phase_note(run, UINT64_FORMAT " operations, " UINT64_FORMAT " failed", tally->asked, tally->failed);

	if (tally->failing == 0)
		run_end(run, VERDICT_INVALID, "no operation was to fail: raise failing_percent or operations");
	check_chaos(run, "operations that failed", tally->failing, chaos_sessions_ended(&run->parties[0].chaos_counts), tally->failed, failure_text(run, run->pool));
	check_all_released(run, NULL, truth.in_use);
	check_count(run, "sessions beside those of the pool", 0, sessions - truth.idle - truth.in_use,
				"the pool and the server do not count the same sessions: see pool_exhaust_backends");
}

/* What each scripted session does, and by which rule it must be found. */
static void
script(Story *story)
{
	Run		   *run = story->run;
	ScriptedSession *parts = story->parts;
	char	   *report = psprintf("SELECT pg_catalog.pg_sleep(" INT64_FORMAT ")", run->options.timeout_ms / 1000 + 1);

	parts[IN_TRANSACTION] = leak_open;
	parts[ABORTED] = leak_aborted;
	parts[ABANDONED] = (ScriptedSession) {.sql = "SELECT 1", .leaks = LEAK_ABANDONED};
	parts[DEAD] = (ScriptedSession) {.sql = report, .lasts = true, .leaks = LEAK_DEAD_CLIENT};
	parts[REPORT] = (ScriptedSession) {.sql = report, .lasts = true};
	parts[LISTENER] = (ScriptedSession) {.sql = "LISTEN pool_exhaust_leak"};
	if (run_fault(run, FAULT_ACCUSE))
		parts[LISTENER].sql = "BEGIN; LISTEN pool_exhaust_leak";
	story->forgettable = leak_growth_min(MaxConnections);
	story->forgotten = &parts[PARTS];
	story->nparts = PARTS + story->forgettable;
	for (int i = 0; i < story->forgettable; i++)
		story->forgotten[i] = (ScriptedSession) {.sql = "SELECT 1", .leaks = LEAK_GROWTH};
	story->healable = POOL_PARTS + story->forgettable;
	story->leaks = story->healable + 1;
}

/*
 * The rest of the pool works: a client to each connection that is left, and each
 * of those is opened now.  The second service works beside what it forgets.
 */
static void
begin_work(Story *story)
{
	Run		   *run = story->run;
	LoadConfig	config = load_of(run, &run->parties[0]);

	config.sql = "SELECT 1";
	config.hold_ms = run->options.work_ms;
	config.exponential = true;
	config.failing_percent = 0;
	config.clients = 1;
	for (int i = 0; i < WORKERS; i++)
	{
		config.pool = run->parties[i == OF_SECOND].pool;
		config.seed = run->options.seed + i;
		story->workers[i] = load_start(run, &config);
	}
}

/* Opens the next session of the growth, if its time has come. */
static void
open_forgotten(Story *story)
{
	if (story->nforgotten == story->forgettable || loop_now_us() < story->next_us ||
		!scripted_sessions_at_work(story->forgotten, story->nforgotten))
		return;
	scripted_session_open(story->run, &story->run->parties[1], &story->forgotten[story->nforgotten++]);
	/* Twice as far apart as they must be, for a machine that is busy. */
	story->next_us = loop_now_us() +
		2 * leak_growth_spacing_ms((int) story->run->options.leak_threshold_ms) * INT64CONST(1000);
}

/* Reads the suspects, and returns how many there are. */
static int
read_suspects(Story *story)
{
	open_forgotten(story);
	story->nsuspects = run_suspects(story->run, story->suspects, lengthof(story->suspects));
	return story->nsuspects;
}

/* Returns the suspect that is this scripted session, or NULL. */
static const Suspect *
suspect_of(const Story *story, const ScriptedSession *scripted)
{
	for (int i = 0; i < Min(story->nsuspects, lengthof(story->suspects)); i++)
		if (story->suspects[i].pid == scripted->pid)
			return &story->suspects[i];
	return NULL;
}

/* Returns how long the slowest but for growth took to be found, in ms since it was a leak. */
static double
slowest_ms(const Story *story)
{
	double		slowest = 0;

	for (int i = 0; i < PARTS; i++)
	{
		const Suspect *suspect = suspect_of(story, &story->parts[i]);

		if (suspect != NULL)
			slowest = Max(slowest, suspect->found_after_us / 1000.0);
	}
	return slowest;
}

static int
found_rightly(const Story *story, LeakRule rule)
{
	int			found = 0;

	for (int i = 0; i < story->nparts; i++)
	{
		const Suspect *suspect = suspect_of(story, &story->parts[i]);

		found += story->parts[i].leaks == rule && suspect != NULL && suspect->rule == rule;
	}
	return found;
}

static uint64
connections_lost(const Run *run)
{
	return run->parties[0].pool->stats.lost + run->parties[1].pool->stats.lost;
}

/* Leaks of every kind, beside sessions that are busy, or idle on purpose. */
static void
leak(Story *story)
{
	Run		   *run = story->run;
	const Options *options = &run->options;
	int64		find_ms = 5 * options->leak_threshold_ms + 10 * sample_interval + settle_ms(run);

	phase(run, "leak");
	story->lost = connections_lost(run);
	for (int i = 0; i < POOL_PARTS; i++)
		scripted_session_take(&story->parts[i], run->pool);
	for (int i = POOL_PARTS; i < PARTS; i++)
		scripted_session_open(run, &run->parties[0], &story->parts[i]);
	scripted_sessions_require(run, story->parts, PARTS);
	/* An answer that has come to the client: the server has said that it sleeps, or will in a moment. */
	poll_until(run, sessions_in_activity(run, run->parties[0].role) >= PARTS, settle_ms(run));
	if (!run_fault(run, FAULT_MISS_LEAK))
		scripted_session_vanish(&story->parts[DEAD]);
	begin_work(story);
	run_progress(run, &story->nsuspects, story->leaks);
	wait_until(run, read_suspects(story) >= story->leaks, find_ms);
	phase_note(run, "%d leaks, %d suspects, the slowest but for growth after %.2f s", story->leaks, story->nsuspects,
			   slowest_ms(story) / 1000.0);
}

/* One client stops, so that its connection is idle in the pool: that is no leak. */
static void
rest(Story *story)
{
	Run		   *run = story->run;
	int64		rest_ms = run->options.leak_threshold_ms + 3 * sample_interval;

	phase(run, "rest");
	load_end(run, story->workers[OF_SECOND + 1], settle_ms(run));
	wait_until(run, read_suspects(story) > story->leaks, rest_ms);
	phase_note(run, "a client has stopped, and its connection is idle");
}

static void
check_found(Story *story)
{
	const struct
	{
		LeakRule	rule;
		int			expected;
		const char *name;
	}			claims[] = {
		{LEAK_IDLE_IN_TRANSACTION, 2, "found idle in transaction"},
		{LEAK_ABANDONED, 1, "found abandoned"},
		{LEAK_GROWTH, story->forgettable, "found as growth"},
		{LEAK_DEAD_CLIENT, 1, "found without a client"},
	};
	Run		   *run = story->run;
	int			right = 0;

	for (int i = 0; i < lengthof(claims); i++)
	{
		int			found = found_rightly(story, claims[i].rule);

		right += found;
		check_count(run, claims[i].name, claims[i].expected, found,
					"a leak of the run was not found, or by another rule: pool_exhaust_leak_rules says when each can fire");
		check_was_of_time(run); /* a monitor that observed nothing for a while knows nothing of it any more */
	}
	check_count(run, "suspects that are no leaks", 0, story->nsuspects - right,
				"a session that is no leak is suspected of one: see pool_exhaust_leaks");
	check_was_of_time(run);		/* one that gets no time to work resembles one */
	check_at_most(run, "slowest to be found, but for growth",
				  run->options.leak_threshold_ms + 2 * sample_interval + run->options.tolerance_ms,
				  slowest_ms(story), "ms",
				  "the monitor needs more than the threshold and two samples: it, or the machine, is overloaded");
}

/* Returns how many leaks were ended; not the dead client's, which runs a statement. */
static int
leaks_ended(const Story *story)
{
	return scripted_sessions_lost(story->parts, story->nparts, true);
}

static uint64
workers_failed(const Story *story)
{
	uint64		failed = 0;

	for (int i = 0; i < WORKERS; i++)
	{
		Tally	   *tally = load_tally(story->workers[i]);

		failed += tally->failed + tally_not_granted(tally);
	}
	return failed;
}

/* The healer ends the leaks, and nothing else. */
static void
heal(Story *story)
{
	Run		   *run = story->run;
	const ScriptedSession *dead = &story->parts[DEAD];
	Suspect		left;
	int			acts;
	char	   *strategies;

	phase(run, "heal");
	run_heal(run, STRATEGIES_OF_LEAKS);
	wait_until(run, leaks_ended(story) >= story->healable, run->options.recovery_limit_ms);
	poll_until(run, run_suspects(run, &left, 1) <= story->leaks - story->healable, settle_ms(run));
	acts = run_healed(run, &strategies);
	phase_note(run, "%d sessions ended: %s", acts, strategies);

	check_count(run, "leaks ended by the healer", story->healable, leaks_ended(story),
				"a leak was left: see pool_exhaust_heal(), and the server log for what the healer did");
	check_was_of_time(run);
	check_healed(run, "sessions that the healer ended", story->healable, acts);
	check_was_of_time(run);
	check_count(run, "sessions ended that are no leaks", 0,
				scripted_sessions_lost(story->parts, PARTS, false) - scripted_sessions_lost(story->parts, POOL_PARTS, true) +
				(int64) (connections_lost(run) - story->lost),
				"a session that was no leak was ended: see pool_exhaust_heals");
	check_was_of_time(run);
	check_count(run, "session in a statement left open", 1,
				census_has_session(run->parties[0].role, dead->pid),
				"a session was ended in the middle of a statement: see pool_exhaust_heals");
	check_count(run, "operations that failed meanwhile", 0, workers_failed(story),
				"clients that do not leak failed by the leaks, or by the healer");
	check_was_of_time(run);
}

/* What was leaked can be acquired again. */
static void
acquire_all(Story *story)
{
	Run		   *run = story->run;
	PoolStats  *stats = &run->pool->stats;
	int			capacity = run_capacity(run);
	PoolState	truth;

	phase(run, "acquire");
	for (int i = 0; i < WORKERS; i++)
		load_end(run, story->workers[i], settle_ms(run));
	pool_acquire_many(run->pool, capacity);
	wait_until(run, stats->held == capacity, settle_ms(run));
	pool_read_state(run->pool, &truth);
	pool_release_many(run->pool, stats->held);
	phase_note(run, "%d of %d connections granted", truth.in_use, capacity);
	check_count(run, "connections granted again", capacity, truth.in_use,
				"the pool still counts what was leaked: it does not notice that its connections have ended");
}

static void
leak_play(Run *run)
{
	Story	   *story = palloc0(sizeof(Story));

	story->run = run;
	run_watch_leaks(run);
	script(story);
	operate(run);
	if (check_failed(run))
		return;					/* of a pool that leaks by itself the rest proves nothing */
	leak(story);
	rest(story);
	check_found(story);
	heal(story);
	if (!check_failed(run))
		acquire_all(story);
}

static void
leak_require(const Options *options)
{
	require_time_for(options, 3 * options->leak_threshold_ms);
	if (options->pool_size + options->max_overflow < POOL_PARTS + POOL_WORKERS ||
		options->pool_size < POOL_PARTS)
		options_contradict("Raise pool_size or max_overflow.",
						   "%d leaks of a pool and %d clients beside them need a pool_size of %d and %d connections",
						   POOL_PARTS, POOL_WORKERS, POOL_PARTS, POOL_PARTS + POOL_WORKERS);
}

const Scenario scenario_leak = {
	.name = "leak",
	.summary = "operations that fail, then leaks of every kind; the monitor finds them and nothing else, and the healer ends them",
	.effect = "opens pool_size + max_overflow + 4 connections, and 5 to 16 more that it leaks",
	.default_target = TARGET_POOL,
	.targets = ON_POOL,
	.parties = 2,
	.pools = 1,
	.spare_sessions = PARTS - POOL_PARTS + 1,
	.grows = true,
	.asks_monitor = true,
	.patient = true,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {4, 4, 4}},
		{OPTION_max_overflow, {2, 2, 2}},
		{OPTION_pool_timeout_ms, {2000, 5000, 5000}},
		POOL_OPTIONS,
		{OPTION_operations, {20, 20, 2000}},
		{OPTION_failing_percent, {30, 30, 30}},
		{OPTION_work_ms, {20, 100, 100}},
		{OPTION_leak_threshold_ms, {600, 5000, 30000}},
		{OPTION_recovery_limit_ms, {20000, 60000, 120000}},
		{OPTION_tolerance_ms, {1000, 1000, 1000}},
		{OPTION_END}
	},
	.require = leak_require,
	.play = leak_play,
};

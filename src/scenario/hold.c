/*
 * hold.c
 *		Connections held by hand: a story of one line.
 *
 * It opens what it was asked for, brings each session into its state, proves
 * that all are there, says so, and then waits until it is told to let go.  A
 * session that is ended meanwhile, or whose statement is, is let go of: the
 * hold goes on with fewer, and ends with the last one.
 */
#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "load/stall.h"
#include "observe/slots/census.h"
#include "scenario/held.h"

#define KEEP_TURN_MS	100		/* between two looks while nothing happens */
#define APART_MS		350		/* from the last use of the abandoned to their companions */
#define HANG_UP_MS		(10 * 1000)

/* The first number of the advisory locks that holds wait for; the second is the hold's id. */
#define LOCK_CLASS		1886351212

#define WHOLE_WAIT_EVENT 0xFFFFFFFFU
#define WAIT_CLASS		0xFF000000U

const HoldKind hold_kinds[HOLD_STATES] = {
	[HOLD_IDLE] = {"idle", .anywhere = true},
	[HOLD_ACTIVE] = {"active", .anywhere = true, .lasts = true,
	.wait_event = WAIT_EVENT_PG_SLEEP, .wait_mask = WHOLE_WAIT_EVENT},
	[HOLD_IDLE_IN_TRANSACTION] = {"idle in transaction", .anywhere = true,
	.sql = "BEGIN; SELECT 1"},
	[HOLD_ABORTED] = {"idle in transaction (aborted)", .anywhere = true,
	.sql = "BEGIN; SELECT 1 / 0", .fails = true},
	[HOLD_LOCK_WAIT] = {"lock wait", .beside = 1, .lasts = true,
	.wait_event = PG_WAIT_LOCK, .wait_mask = WAIT_CLASS},
	[HOLD_AUTHENTICATING] = {"authenticating", .stalls = true},
	[HOLD_ABANDONED] = {"abandoned", .only_leaks = true, .beside = 3, .beside_each = 2,
	.sql = USED_ONCE},
	[HOLD_DEAD_CLIENT] = {"dead client", .only_leaks = true, .lasts = true,
	.wait_event = WAIT_EVENT_PG_SLEEP, .wait_mask = WHOLE_WAIT_EVENT},
	[HOLD_GROWTH] = {"growth", .only_leaks = true, .beside = 1,
	.sql = USED_ONCE},
};

/* What the sessions run.  A sleep outlasts the hold. */
static char *
hold_sql(const Run *run, const HoldKind *kind)
{
	const RunRequest *request = &run->request;

	if (kind == &hold_kinds[HOLD_LOCK_WAIT])
		return psprintf("SELECT pg_catalog.pg_advisory_lock(%d, %d)", LOCK_CLASS,
						(int) (run->entry->hold_id & PG_INT32_MAX));
	if (kind->lasts && !run_is_local(run))
		return pstrdup(ENDLESS_SQL);
	if (kind->lasts)
		return psprintf("SELECT pg_catalog.pg_sleep(" INT64_FORMAT ")",
						(request->options.timeout_ms + request->hold.hold_ms) / 1000 + 60);
	return kind->sql != NULL ? pstrdup(kind->sql) : NULL;
}

static Hold *
hold_make(Run *run)
{
	const HoldRequest *request = &run->request.hold;
	int			sessions = hold_sessions(request);
	Hold	   *hold = palloc0(sizeof(Hold));

	hold->run = run;
	hold->kind = &hold_kinds[request->state];
	hold->n = request->connections;
	hold->sql = hold_sql(run, hold->kind);
	hold->says_begin = hold->kind->lasts && !run_is_local(run);
	hold->held = palloc_extended(sizeof(Held) * sessions, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < sessions; i++)
	{
		held_init(&hold->held[i], hold);
		hold->held[i].beside = i >= hold->n;
	}
	return hold;
}

/*
 * Ends the hold because the server refused one more than "after" sessions of
 * it, for that cause.
 */
void
hold_refused(Run *run, Cause cause, const char *sqlstate, int after)
{
	run->error_code = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
	run_end(run, VERDICT_ABORTED, "%s refused after %d", cause_kinds[cause].name, after);
}

/* Ends the hold because there is nothing to stall at. */
pg_noreturn static void
hold_cannot_stall(Run *run, const char *why)
{
	run->error_code = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	run_end(run, VERDICT_ABORTED,
			"%s; stalled logins need a line of pg_hba.conf that asks role \"%s\" for a password, without TLS",
			why, run->parties[0].role_name);
}

/*
 * Ends the hold if something went wrong.  Logins that were under way beside one
 * that was refused may still come through; then it is known how many fit.
 */
static void
hold_require_all(Hold *hold)
{
	Run		   *run = hold->run;
	const PoolStats *stats = &run->pool->stats;

	if (!hold->refused && hold->error_code == 0)
		return;
	pool_cancel(run->pool);
	wait_until(run, stats->opening == 0, LOGIN_TIMEOUT_MS);
	for (int cause = 0; cause < CAUSES; cause++)
		if (stats->refused_by[cause] > 0)
			hold_refused(run, cause, run->pool->last_refusal.sqlstate, (int) stats->granted);
	run->error_code = hold->error_code;
	if (hold->unasked)
		hold_cannot_stall(run, "the server asks for no password");
	run_end(run, VERDICT_ABORTED, "%s", hold->error);
}

/* Opens n of them, from that one on, and waits until each has done its part. */
static void
hold_open(Hold *hold, int first, int n)
{
	Run		   *run = hold->run;
	int			ready = hold->ready + n;

	for (int i = first; i < first + n; i++)
		pool_acquire(run->pool, &hold->held[i].request);
	wait_until(run, hold->ready >= ready || hold->refused || hold->error_code != 0,
			   run->options.timeout_ms);
	hold_require_all(hold);
}

static bool
hold_waits(const Hold *hold)
{
	const HoldKind *kind = hold->kind;

	return census_role_waiting(hold->run->parties[0].role, kind->wait_event, kind->wait_mask) >= hold->n;
}

/* What they run goes on, so only the server can tell that all are there. */
static void
hold_prove(Hold *hold)
{
	Run		   *run = hold->run;

	if (hold->kind->lasts && !hold->says_begin)
		poll_until(run, hold_waits(hold) || hold->error_code != 0, run->options.timeout_ms);
	hold_require_all(hold);
}

/* One after the other, at an even pace. */
static void
hold_grow(Hold *hold)
{
	Run		   *run = hold->run;

	for (int i = 0; i < hold->n; i++)
	{
		if (i > 0)
			wait_until(run, hold->error_code != 0, run->options.spacing_ms);
		hold_open(hold, i, 1);
	}
}

/* The service opens other sessions, and goes on using those. */
static void
hold_add_companions(Hold *hold)
{
	hold_open(hold, hold->n, hold_beside(&hold->run->request.hold));
	for (int i = 0; i < hold_beside(&hold->run->request.hold); i++)
		companion_rest(&hold->held[hold->n + i]);
}

/* The clients are gone; the server does not know, and goes on working for them. */
static void
hold_vanish(Hold *hold)
{
	for (int i = 0; i < hold->n; i++)
	{
		session_vanish(hold->held[i].request.session);
		pool_release(&hold->held[i].request);
	}
}

/* From now on its logins stall.  What TLS hides cannot be waited for. */
static void
hold_stall(Hold *hold)
{
	Login	   *login = hold->run->parties[0].login;
	const char *sslmode = "";

	for (int i = 0; i < login->params; i++)
		if (strcmp(login->keywords[i], "sslmode") == 0)
			sslmode = login->values[i];
	if (strcmp(sslmode, "disable") != 0)
		hold_cannot_stall(hold->run, "the way in is with TLS");
	login->stalls = true;
}

static void
hold_set_up(Hold *hold)
{
	HoldState	state = hold->run->request.hold.state;

	if (hold->kind->stalls)
		hold_stall(hold);
	if (state == HOLD_LOCK_WAIT)
		hold_open(hold, hold->n, hold->kind->beside);
	if (state == HOLD_GROWTH)
	{
		hold_add_companions(hold);
		hold_grow(hold);
	}
	else
		hold_open(hold, 0, hold->n);
	if (state == HOLD_ABANDONED)
	{
		wait_until(hold->run, hold->error_code != 0, APART_MS);
		hold_add_companions(hold);
	}
	hold_prove(hold);
	if (state == HOLD_DEAD_CLIENT)
		hold_vanish(hold);
}

/* Whoever waits for the hold learns that it is there. */
static void
hold_complete(Hold *hold)
{
	Run		   *run = hold->run;
	RunEntry    *entry = run->entry;

	hold->complete = true;
	run->deadline_us = PG_UINT64_MAX;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry->held_at = GetCurrentTimestamp();
	entry->expires_at = TimestampTzPlusMilliseconds(entry->held_at, run->request.hold.hold_ms);
	entry->state = RUN_RUNNING;
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&entry->changed);
}

/* Nobody tells a client that is not there what becomes of its sessions. */
static void
hold_look(Hold *hold)
{
	if (hold->run->request.hold.state == HOLD_DEAD_CLIENT)
		hold_count(hold, census_role_sessions(hold->run->parties[0].role, NULL, 0));
}

static void
hold_keep(Hold *hold)
{
	Run		   *run = hold->run;
	uint64		end_us = loop_now_us() + (uint64) run->request.hold.hold_ms * 1000;

	while (hold->alive > 0 && !hold->unlocked && wait_turn(run, end_us, KEEP_TURN_MS))
		hold_look(hold);
	if (hold->unlocked)
		run_end(run, VERDICT_ABORTED, "the session that held the lock is gone");
	if (hold->alive == 0)
		run_end(run, VERDICT_ABORTED, "none of its connections is left");
	run_end(run, VERDICT_ABORTED, "its time is over");
}

static void
hold_play(Run *run)
{
	phase(run, "hold");
	run->hold = hold_make(run);
	hold_set_up(run->hold);
	hold_complete(run->hold);
	hold_keep(run->hold);
}

/* Are its sessions in the middle of something, so that they would not see a good-bye? */
bool
hold_is_busy(const Hold *hold)
{
	return hold->kind->lasts;
}

/*
 * Ends the logins that stall.  They show under no role, so that their backends
 * are gone is seen in the sockets alone: that must be waited for before those
 * are closed.  Returns how many are left after all.
 */
int
hold_hang_up(Run *run)
{
	Hold	   *hold = run->hold;
	uint64		end_us = loop_now_us() + (uint64) HANG_UP_MS * 1000;

	if (hold == NULL || !hold->kind->stalls)
		return 0;
	for (int i = 0; i < hold->n; i++)
		if (hold->held[i].request.session != NULL)
			session_hang_up(hold->held[i].request.session);
	while (hold->alive > 0 && loop_now_us() < end_us)
		loop_turn(&run->loop, POLL_TURN_MS);
	return hold->alive;
}

static const OptionDefault hold_options[] = {
	{"database"},
	{"timeout_ms", {60 * 1000, 60 * 1000, 60 * 1000}},
	{"handshakes", {8, 8, 8}},
	{"hold_ms", {0}},
	{"role_limit", {0}},
	{"spacing_ms"},
	{"reserved", {RESERVED_KEEP}},
	{NULL}
};

const Scenario scenario_hold = {
	.name = "hold",
	.default_target = TARGET_SERVER,
	.targets = (1 << TARGET_SERVER) | (1 << TARGET_ROLE) | (1 << TARGET_POSTGRES) | (1 << TARGET_PGBOUNCER),
	.logins = true,
	.options = hold_options,
	.bare = true,
	.play = hold_play,
};

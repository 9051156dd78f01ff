/*
 * hold.c
 *		Connections held by hand: a story of one line.
 *
 *		requested -> granted -> (statement) -> ready -> released
 *
 * It opens what it was asked for, brings each session into its state, proves
 * that all are there, publishes that, and then waits for its release.  A session
 * that is ended meanwhile, or the statement of which is, is released: the hold
 * goes on with fewer, and ends with the last one.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "load/failure.h"
#include "observe/monitor/leak_detector.h"
#include "observe/slots/census.h"
#include "scenario/hold.h"

#define KEEP_TURN_MS	100		/* between two reads of the server while nothing happens */
#define APART_MS		350		/* from the last use of the abandoned to their companions */
#define END_STALLED_MS	(10 * 1000)

/* The first number of the advisory locks that holds wait for; the second is the hold's id. */
#define LOCK_CLASS		1886351212

#define WHOLE_WAIT_EVENT 0xFFFFFFFFU
#define WAIT_CLASS		0xFF000000U

#define USED_ONCE	"SELECT 1"

/* What companions do, again and again, until all of them are there. */
#define COMPANION_WAITS	"SELECT pg_catalog.pg_sleep(0.05)"

/* Between two uses of a companion. */
#define PACE_MIN_US		(70 * 1000)
#define PACE_MAX_US		(130 * 1000)

#define DIVISION_BY_ZERO "22012"

/* One session of the hold. */
typedef struct Held
{
	Request		request;		/* must be first */
	struct Hold *hold;
	bool		beside;			/* not one of those that were asked for */
	bool		began;			/* its statement has begun */
	Alarm		alarm;			/* of a companion: when it is used again */
} Held;

typedef struct Hold
{
	Run		   *run;
	const HoldKind *kind;
	Held	   *held;			/* those that were asked for, then those beside them */
	int			n;				/* of the former */
	char	   *sql;			/* what each runs; NULL: nothing */
	bool		says_begin;		/* its first row comes when it begins */
	int			ready;			/* of all, as far as the client sees */
	int			alive;			/* of those that were asked for */
	bool		gathers;		/* companions are being opened */
	bool		complete;
	bool		refused;
	bool		unasked;		/* a login was to stall, and was granted without a password */
	bool		unlocked;		/* the session that held the lock is gone */
	int			error_code;		/* what went wrong first, 0 = nothing */
	char		error[MESSAGE_LEN];
} Hold;

/* ---------- One session; all of this runs inside the loop, and what goes wrong is kept for the story ---------- */

/* Keeps what went wrong first, for the story; no SQLSTATE: the connection was lost. */
static void
hold_fail(Hold *hold, const char *sqlstate, const char *message)
{
	if (hold->error_code != 0)
		return;
	hold->error_code = strlen(sqlstate) == 5
		? MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4])
		: ERRCODE_CONNECTION_FAILURE;
	strlcpy(hold->error, message, sizeof(hold->error));
}

/* Sets how many of the sessions that were asked for are open, also in pool_exhaust_holds. */
static void
hold_count(Hold *hold, int alive)
{
	hold->alive = alive;
	pg_atomic_write_u32(&hold->run->entry->connections, alive);
}

/* Releases a session that has ended, or the statement of which has. */
static void
held_release(Held *held)
{
	Hold	   *hold = held->hold;

	alarm_unset(&hold->run->clock, &held->alarm);
	pool_release(&held->request);
	if (!held->beside)
		hold_count(hold, hold->alive - 1);
	else if (hold->kind->lasts)
		hold->unlocked = true;
	if (!hold->complete)
		hold_fail(hold, "", "a session was ended before all were held");
}

static void
held_lost(Request *request)
{
	Held	   *held = (Held *) request;
	const ConnectResult *failure = &request->pool->last_loss;

	if (!held->hold->complete && failure->sqlstate[0] != '\0')
	{
		char		message[MESSAGE_LEN];

		snprintf(message, sizeof(message), "a session was ended before all were held: %s %s", failure->sqlstate, failure->message);
		hold_fail(held->hold, "", message);
	}
	held_release(held);
}

/* The companion is used again after 70 to 130 ms. */
static void
companion_rest(Held *held)
{
	alarm_set(&held->hold->run->clock, &held->alarm,
			  loop_now_us() + pg_prng_uint64_range(&pg_global_prng_state, PACE_MIN_US, PACE_MAX_US));
}

static void
companion_answered(void *arg, const QueryResult *result)
{
	Held	   *held = arg;

	if (held->request.session != NULL && held->hold->gathers)
		session_query(held->request.session, COMPANION_WAITS, 0, companion_answered, held);
	else
		companion_rest(held);
}

/* Is it one of those that go on being used beside leaks, and not the session that has the lock? */
static bool
is_companion(const Held *held)
{
	return held->beside && !held->hold->kind->locks;
}

static void
held_answered(void *arg, const QueryResult *result)
{
	Held	   *held = arg;
	Hold	   *hold = held->hold;
	bool		good = hold->kind->fails ? strcmp(result->sqlstate, DIVISION_BY_ZERO) == 0 : result->ok;

	if (hold->kind->lasts && !held->beside)
	{
		if (!hold->complete)
			hold_fail(hold, result->sqlstate, result->ok ? "its statement ended early" : result->message);
		/* It got the lock: that is seen before the end of the session that held it. */
		hold->unlocked |= result->ok && hold->kind->beside > 0;
		held_release(held);
	}
	else if (!good)
		hold_fail(hold, result->sqlstate, result->message);
	else
	{
		hold->ready++;
		if (is_companion(held))
			companion_answered(held, result);
	}
}

static void
held_granted(Held *held)
{
	Hold	   *hold = held->hold;
	const char *sql = is_companion(held) ? COMPANION_WAITS : hold->sql;

	if (!held->beside)
		hold_count(hold, hold->alive + 1);
	if (sql != NULL)
		session_query(held->request.session, sql, 0, held_answered, held);
	if (sql == NULL || (hold->kind->lasts && !held->beside && !hold->says_begin))
		hold->ready++;
}

static void
held_began(Request *request)
{
	Held	   *held = (Held *) request;

	if (held->hold->says_begin && !held->began)
		held->hold->ready++;
	held->began = true;
}

static void
held_ended(Request *request, AcquireEnd end)
{
	Held	   *held = (Held *) request;
	Hold	   *hold = held->hold;
	const ConnectResult *failure = &request->pool->last_failure;

	switch (end)
	{
		case ACQUIRE_GRANTED:
			held_granted(held);
			break;
		case ACQUIRE_REFUSED:
			hold->refused = true;
			break;
		case ACQUIRE_TIMED_OUT:
		case ACQUIRE_FAILED:
			hold_fail(hold, failure->sqlstate, failure->message);
			hold->unasked = failure->end == CONNECT_UNASKED;
			break;
		case ACQUIRE_CANCELED:
			break;
	}
}

static const RequestEvents held_events = {
	.ended = held_ended,
	.lost = held_lost,
	.began = held_began,
};

static void
companion_use(Alarm *alarm)
{
	Held	   *held = alarm->owner;

	if (held->request.session != NULL && held->request.session->done == NULL)
		session_query(held->request.session, USED_ONCE, 0, companion_answered, held);
}

/* Makes one that has not been requested yet. */
static void
held_init(Held *held, Hold *hold)
{
	held->request.events = &held_events;
	held->hold = hold;
	held->alarm.ring = companion_use;
	held->alarm.owner = held;
}

/* ---------- The story ---------- */

/* Returns what the sessions run, palloc'd; NULL: nothing.  A sleep outlasts the hold. */
static char *
hold_sql(const Run *run, const HoldKind *kind)
{
	if (kind->locks)
		return psprintf("SELECT pg_catalog.pg_advisory_lock(%d, %d)", LOCK_CLASS,
						(int) (run->entry->hold_id & PG_INT32_MAX));
	if (kind->lasts && !run->target->activity)
		return pstrdup(ENDLESS_SQL);
	if (kind->lasts)
		return psprintf("SELECT pg_catalog.pg_sleep(" INT64_FORMAT ")",
						(run->options.timeout_ms + run->request.hold.hold_ms) / 1000 + 60);
	return kind->sql != NULL ? pstrdup(kind->sql) : NULL;
}

static Hold *
hold_make(Run *run)
{
	const HoldRequest *request = &run->request.hold;
	int			sessions = hold_sessions(request);
	Hold	   *hold = palloc0(sizeof(Hold));

	hold->run = run;
	hold->kind = &hold_kinds[request->kind];
	hold->n = request->connections;
	hold->sql = hold_sql(run, hold->kind);
	hold->says_begin = hold->kind->lasts && !run->target->activity;
	hold->held = palloc_extended(sizeof(Held) * sessions, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < sessions; i++)
	{
		held_init(&hold->held[i], hold);
		hold->held[i].beside = i >= hold->n;
	}
	return hold;
}

/*
 * Ends the hold because the server has refused a session of it for that cause,
 * after it had granted that many.
 */
void
hold_refused(Run *run, Cause cause, const char *sqlstate, int granted)
{
	run->error_code = MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]);
	run_end(run, VERDICT_ABORTED, "%s refused after %d", cause_kinds[cause].name, granted);
}

/* Ends the hold because the server does not wait for a password. */
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
 * that was refused may still be granted; after them it is known how many fit.
 */
static void
hold_require_all(Hold *hold)
{
	Run		   *run = hold->run;
	const PoolStats *stats = &run->pool->stats;

	if (!hold->refused && hold->error_code == 0)
		return;
	pool_cancel(run->pool);
	wait_until(run, stats->opening == 0, login_ms(run));
	for (int cause = 0; cause < CAUSES; cause++)
		if (stats->refused_by[cause] > 0)
			hold_refused(run, cause, run->pool->last_refusal.sqlstate, (int) stats->granted);
	run->error_code = hold->error_code;
	if (hold->unasked)
		hold_cannot_stall(run, "the server asks for no password");
	run_end(run, VERDICT_ABORTED, "%s", hold->error);
}

/* Opens n of its sessions, from number "first" on, and waits until each is ready. */
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

/* Statements that go on say nothing to the client: the server shows whether all have begun. */
static void
hold_prove(Hold *hold)
{
	Run		   *run = hold->run;
	const HoldKind *kind = hold->kind;

	if (kind->lasts && !hold->says_begin)
		poll_until(run, hold->error_code != 0 ||
				   census_role_waiting(run->parties[0].role, kind->wait_event, kind->wait_mask) >= hold->n,
				   run->options.timeout_ms);
	hold_require_all(hold);
}

/*
 * Opens sessions of the same service beside them, which go on being used.  None of them is
 * idle until all are there, however long that takes: what a service opens although it has
 * an idle one is opened for another reason than the lack of one.
 */
static void
hold_add_companions(Hold *hold)
{
	hold->gathers = true;
	hold_open(hold, hold->n, hold_beside(&hold->run->request.hold));
	hold->gathers = false;
}

/* Closes the sockets of the clients; the server goes on with their statements. */
static void
hold_vanish(Hold *hold)
{
	for (int i = 0; i < hold->n; i++)
	{
		session_vanish(hold->held[i].request.session);
		pool_release(&hold->held[i].request);
	}
}

static void
open_all(Hold *hold)
{
	hold_open(hold, 0, hold->n);
}

/* Its logins stall.  Under TLS the request for a password cannot be seen, and so not waited for. */
static void
open_stalled(Hold *hold)
{
	Login	   *login = hold->run->parties[0].login;

	if (strcmp(login_value(login, "sslmode"), "disable") != 0)
		hold_cannot_stall(hold->run, "the way in is with TLS");
	foreach_login(each, login)
		each->stalls = true;
	open_all(hold);
}

static void
open_behind_lock(Hold *hold)
{
	hold_open(hold, hold->n, hold->kind->beside);
	open_all(hold);
}

/* They are idle for longer than their companions. */
static void
open_abandoned(Hold *hold)
{
	open_all(hold);
	wait_until(hold->run, hold->error_code != 0, APART_MS);
	hold_add_companions(hold);
}

/* They come one after the other, at an even pace. */
static void
open_growth(Hold *hold)
{
	hold_add_companions(hold);
	for (int i = 0; i < hold->n; i++)
	{
		if (i > 0)
			wait_until(hold->run, hold->error_code != 0, hold->run->options.spacing_ms);
		hold_open(hold, i, 1);
	}
}

const HoldKind hold_kinds[] = {
	{"idle", .anywhere = true},
	{"active", .anywhere = true, .lasts = true,
	.wait_event = WAIT_EVENT_PG_SLEEP, .wait_mask = WHOLE_WAIT_EVENT},
	{"idle in transaction", .anywhere = true,
	.sql = "BEGIN; SELECT 1"},
	{"idle in transaction (aborted)", .anywhere = true,
	.sql = "BEGIN; SELECT 1 / 0", .fails = true},
	{"lock wait", .beside = 1, .locks = true, .lasts = true,
	.wait_event = PG_WAIT_LOCK, .wait_mask = WAIT_CLASS, .open = open_behind_lock},
	{"authenticating", .stalls = true, .open = open_stalled},
	{"abandoned", .only_leaks = true, .beside = 3, .beside_each = 2,
	.sql = USED_ONCE, .open = open_abandoned},
	{"dead client", .only_leaks = true, .vanishes = true, .lasts = true,
	.wait_event = WAIT_EVENT_PG_SLEEP, .wait_mask = WHOLE_WAIT_EVENT},
	{"growth", .only_leaks = true, .grows = true, .beside = 1,
	.sql = USED_ONCE, .open = open_growth},
};

const int	nhold_kinds = lengthof(hold_kinds);

/* Returns the names of the kinds that are wanted, with commas between them, palloc'd. */
char *
hold_kinds_text(bool (*wanted) (const HoldKind *kind))
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < nhold_kinds; i++)
		if (wanted == NULL || wanted(&hold_kinds[i]))
			appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", hold_kinds[i].name);
	return text.data;
}

/* Publishes that all sessions are there, for the caller that waits for it. */
static void
hold_complete(Hold *hold)
{
	Run		   *run = hold->run;
	RunEntry   *entry = run->entry;

	hold->complete = true;
	run->deadline_us = PG_UINT64_MAX;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry->held_at = GetCurrentTimestamp();
	entry->expires_at = TimestampTzPlusMilliseconds(entry->held_at, run->request.hold.hold_ms);
	entry->state = RUN_RUNNING;
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&entry->changed);
}

static void
hold_keep(Hold *hold)
{
	Run		   *run = hold->run;
	const ConnectResult *loss = &run->pool->last_loss;
	uint64		end_us = loop_now_us() + (uint64) run->request.hold.hold_ms * 1000;

	/* The end of a session is not sent to a client that has gone, so the server is read. */
	while (hold->alive > 0 && !hold->unlocked && wait_turn(run, end_us, KEEP_TURN_MS, false))
		if (hold->kind->vanishes)
			hold_count(hold, census_role_sessions(run->parties[0].role, NULL, 0));
	if (hold->unlocked)
		run_end(run, VERDICT_ABORTED, "the session that held the lock is gone");
	if (hold->alive == 0)
		run_end(run, VERDICT_ABORTED, "none of its connections is left%s%s", loss->sqlstate[0] != '\0' ? ": " : "",
				loss->sqlstate[0] != '\0' ? connect_failure_text(loss) : "");
	run_end(run, VERDICT_ABORTED, "its time is over");
}

static void
hold_play(Run *run)
{
	Hold	   *hold = hold_make(run);
	const HoldKind *kind = hold->kind;

	phase(run, "hold");
	run->hold = hold;
	(kind->open != NULL ? kind->open : open_all) (hold);
	hold_prove(hold);
	if (kind->vanishes)
		hold_vanish(hold);
	hold_complete(hold);
	hold_keep(hold);
}

/* Returns whether its sessions are in a statement, so that they do not notice that their client has gone. */
bool
hold_is_busy(const Hold *hold)
{
	return hold->kind->lasts;
}

/*
 * Ends the logins that stall, if it is a hold that has them; returns when they
 * are gone, or the time is over.  They are counted under no role, so the end of
 * a backend is seen in its socket alone: that must not be closed before.
 */
void
hold_end_stalled(Run *run)
{
	Hold	   *hold = run->hold;
	uint64		end_us = loop_now_us() + (uint64) END_STALLED_MS * 1000;

	if (hold == NULL || !hold->kind->stalls)
		return;
	for (int i = 0; i < hold->n; i++)
		if (hold->held[i].request.session != NULL)
			session_hang_up(hold->held[i].request.session);
	while (hold->alive > 0 && loop_now_us() < end_us)
		loop_turn(&run->loop, POLL_TURN_MS);
}

/* Returns how many logins that stall are left. */
int
hold_stalled_left(Run *run)
{
	const Hold *hold = run->hold;

	return hold != NULL && hold->kind->stalls ? hold->alive : 0;
}

static const OptionDefault hold_options[] = {
	{OPTION_database},
	{OPTION_timeout_ms, {60 * 1000, 60 * 1000, 60 * 1000}},
	{OPTION_handshakes, {8, 8, 8}},
	{OPTION_hold_ms, {0}},
	{OPTION_role_limit, {0}},
	{OPTION_spacing_ms},
	{OPTION_reserved, {RESERVED_KEEP}},
	{OPTION_END}
};

/* Scenario.complete.  Each session that it needs comes through, and no other client matters. */
static void
hold_complete_options(const RunRequest *request, Options *options)
{
	options->bystanders = BYSTANDERS_IGNORE;
	if (options->role_limit == 0)
		options->role_limit = hold_sessions(&request->hold);
	if (options->spacing_ms == 0)
		options->spacing_ms = leak_growth_spacing_ms(leak_threshold);
}

const Scenario scenario_hold = {
	.name = "hold",
	.default_target = TARGET_SERVER,
	.targets = ON_SERVER | ON_ROLE | ON_POSTGRES | ON_PGBOUNCER,
	.logins = true,
	.options = hold_options,
	.bare = true,
	.complete = hold_complete_options,
	.play = hold_play,
};

/*
 * held.c
 *		One session of a hold: is granted, runs its statement, and is kept.
 *
 *		requested -> granted -> (statement) -> ready -> released
 *
 * Everything here runs inside the loop and never throws: what goes wrong is
 * kept for the story.
 */
#include "postgres.h"

#include "common/pg_prng.h"

#include "scenario/held.h"

/* Between two uses of a companion. */
#define PACE_MIN_US		(70 * 1000)
#define PACE_MAX_US		(130 * 1000)

#define DIVISION_BY_ZERO "22012"

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
void
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
	const ConnectResult *failure = &request->pool->last_failure;

	if (!held->hold->complete && failure->sqlstate[0] != '\0')
	{
		char		message[MESSAGE_LEN];

		snprintf(message, sizeof(message), "a session was ended before all were held: %s", failure->message);
		hold_fail(held->hold, failure->sqlstate, message);
	}
	held_release(held);
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
	else if (good)
		hold->ready++;
	else
		hold_fail(hold, result->sqlstate, result->message);
}

static void
held_granted(Held *held)
{
	Hold	   *hold = held->hold;

	if (!held->beside)
		hold_count(hold, hold->alive + 1);
	if (hold->sql != NULL)
		session_query(held->request.session, hold->sql, 0, held_answered, held);
	if (hold->sql == NULL || (hold->kind->lasts && !held->beside && !hold->says_begin))
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

/* The companion is used again after 70 to 130 ms. */
void
companion_rest(Held *held)
{
	alarm_set(&held->hold->run->clock, &held->alarm,
			  loop_now_us() + pg_prng_uint64_range(&pg_global_prng_state, PACE_MIN_US, PACE_MAX_US));
}

static void
companion_answered(void *arg, const QueryResult *result)
{
	companion_rest(arg);
}

static void
companion_use(Alarm *alarm)
{
	Held	   *held = alarm->owner;

	if (held->request.session != NULL && held->request.session->done == NULL)
		session_query(held->request.session, USED_ONCE, 0, companion_answered, held);
}

/* Makes one that has not been requested yet. */
void
held_init(Held *held, Hold *hold)
{
	held->request.events = &held_events;
	held->hold = hold;
	held->alarm.ring = companion_use;
	held->alarm.owner = held;
}

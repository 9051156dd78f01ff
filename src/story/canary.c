/*
 * canary.c
 *		A session that was open before the load, and must not notice it.
 *
 * It listens; a second session notifies it, again and again, with the time of
 * sending.  What it receives, and how late, shows whether sessions that are open
 * suffer from requests for more.
 */
#include "postgres.h"

#include "load/failure.h"
#include "story/canary.h"

#define PACE_US				(50 * 1000) /* between two notifications */

/* Each run has one of its own: a channel is shared by all sessions of a database. */
#define CHANNEL				"pool_exhaust_canary_" INT64_FORMAT

struct Canary
{
	Run		   *run;
	Session		listener;
	Session		notifier;
	Alarm		alarm;			/* the next notification is due */
	int			ready;			/* sessions that are open, and listen */
	int			lost;
	ConnectResult failure;		/* why a session was not granted */
	bool		stopped;
	uint64		sent;
	uint64		failed;
	uint64		received;
	uint64		slowest_us;
};

static void
canary_sent(void *arg, const QueryResult *result)
{
	Canary	   *canary = arg;

	if (!result->ok)
		canary->failed++;
	if (!canary->stopped)
		alarm_set(&canary->run->clock, &canary->alarm, loop_now_us() + PACE_US);
}

static void
canary_send(Alarm *alarm)
{
	Canary	   *canary = alarm->owner;
	char		sql[128];

	snprintf(sql, sizeof(sql), "NOTIFY " CHANNEL ", '" UINT64_FORMAT "'",
			 canary->run->entry->run_id, loop_now_us());
	if (canary->notifier.state != SESSION_OPEN)
		return;
	canary->sent++;
	session_query(&canary->notifier, sql, 0, canary_sent, canary);
}

static void
canary_notified(Session *session, const char *payload)
{
	Canary	   *canary = session->owner;
	uint64		sent_us = strtoull(payload, NULL, 10);

	canary->received++;
	canary->slowest_us = Max(canary->slowest_us, loop_now_us() - sent_us);
}

static void
canary_listens(void *arg, const QueryResult *result)
{
	if (result->ok)
		((Canary *) arg)->ready++;
}

static void
canary_connected(Session *session, const ConnectResult *result)
{
	Canary	   *canary = session->owner;
	char		sql[128];

	snprintf(sql, sizeof(sql), "LISTEN " CHANNEL, canary->run->entry->run_id);
	if (result->end != CONNECT_GRANTED)
	{
		canary->failure = *result;
		canary->lost++;
	}
	else if (session == &canary->listener)
		session_query(session, sql, login_ms(canary->run), canary_listens, canary);
	else
		canary->ready++;
}

static void
canary_lost(Session *session)
{
	Canary	   *canary = session->owner;

	canary->lost++;
	alarm_unset(&canary->run->clock, &canary->alarm);
	session_close(session);
}

static const SessionEvents canary_events = {
	.connected = canary_connected,
	.lost = canary_lost,
	.notified = canary_notified,
};

/*
 * Opens both sessions and begins to notify.  The canary lives in the current
 * memory context, which must outlive the loop.  Ends the run as invalid if the
 * sessions do not come.
 */
Canary *
canary_open(Run *run)
{
	Canary	   *canary = palloc0(sizeof(Canary));

	canary->run = run;
	canary->alarm.ring = canary_send;
	canary->alarm.owner = canary;
	run_open_session(run, &run->parties[0], &canary->listener, &canary_events, canary);
	run_open_session(run, &run->parties[0], &canary->notifier, &canary_events, canary);
	wait_until(run, canary->ready == CANARY_SESSIONS || canary->lost > 0, login_ms(run));
	if (canary->ready < CANARY_SESSIONS)
		run_end(run, VERDICT_INVALID, "the sessions that listen and notify could not be opened: %s",
				canary->failure.message[0] != '\0' ? connect_failure_text(&canary->failure) : "no answer in time, see the server log");
	alarm_set(&run->clock, &canary->alarm, loop_now_us());
	return canary;
}

/* Ends it; it has received every notification, in time. */
void
canary_check(Run *run, Canary *canary, double limit_ms)
{
	canary->stopped = true;
	alarm_unset(&run->clock, &canary->alarm);
	wait_until(run, canary->lost > 0 ||
			   (canary->notifier.done == NULL && canary->received >= canary->sent), limit_ms);
	check_count(run, "earlier sessions lost", 0, canary->lost,
				"sessions that were open before the load were ended: see the server log");
	check_count(run, "notifications received", canary->sent - canary->failed, canary->received,
				"a session that was open before the load does not receive what is sent to it");
	check_at_most(run, "slowest notification", limit_ms, canary->slowest_us / 1000.0, "ms",
				  "sessions that were open before the load get slower by it");
}

/*
 * canary.c
 *		A session that was there before, and is to notice nothing.
 *
 * It listens; a second session notifies it, again and again, with the time of
 * sending.  What it hears, and how late, tells whether those who already have a
 * connection suffer from those who want one.
 */
#include "postgres.h"

#include "story/canary.h"

#define PACE_US				(50 * 1000) /* between two notifications */

/* Each run has one of its own: all sessions of a database hear all of them. */
#define CHANNEL				"pool_exhaust_witness_" INT64_FORMAT

struct Witness
{
	Run		   *run;
	Session		listener;
	Session		notifier;
	Alarm		alarm;			/* the next notification is due */
	int			ready;			/* sessions that are open, and listen */
	int			lost;
	bool		stopped;
	uint64		sent;
	uint64		failed;
	uint64		heard;
	uint64		slowest_us;
};

static void
witness_sent(void *arg, const QueryResult *result)
{
	Witness    *witness = arg;

	if (!result->ok)
		witness->failed++;
	if (!witness->stopped)
		alarm_set(&witness->run->clock, &witness->alarm, loop_now_us() + PACE_US);
}

static void
witness_send(Alarm *alarm)
{
	Witness    *witness = alarm->owner;
	char		sql[128];

	snprintf(sql, sizeof(sql), "NOTIFY " CHANNEL ", '" UINT64_FORMAT "'",
			 witness->run->slot->run_id, loop_now_us());
	if (witness->notifier.state != SESSION_OPEN)
		return;
	witness->sent++;
	session_query(&witness->notifier, sql, 0, witness_sent, witness);
}

static void
witness_heard(Session *session, const char *payload)
{
	Witness    *witness = session->owner;
	uint64		sent_us = strtoull(payload, NULL, 10);

	witness->heard++;
	witness->slowest_us = Max(witness->slowest_us, loop_now_us() - sent_us);
}

static void
witness_listens(void *arg, const QueryResult *result)
{
	if (result->ok)
		((Witness *) arg)->ready++;
}

static void
witness_connected(Session *session, const ConnectResult *result)
{
	Witness    *witness = session->owner;
	char		sql[128];

	snprintf(sql, sizeof(sql), "LISTEN " CHANNEL, witness->run->slot->run_id);
	if (result->end != CONNECT_GRANTED)
		witness->lost++;
	else if (session == &witness->listener)
		session_query(session, sql, LOGIN_TIMEOUT_MS, witness_listens, witness);
	else
		witness->ready++;
}

static void
witness_lost(Session *session)
{
	Witness    *witness = session->owner;

	witness->lost++;
	alarm_unset(&witness->run->clock, &witness->alarm);
	session_close(session);
}

static void
witness_unused(Session *session)
{
}

static const SessionEvents witness_events = {
	.connected = witness_connected,
	.lost = witness_lost,
	.unused = witness_unused,
	.notified = witness_heard,
};

/*
 * Opens both sessions and begins to notify.  The witness lives in the current
 * memory context, which must outlive the loop.  Ends the run as invalid if the
 * sessions do not come.
 */
Witness *
witness_open(Run *run)
{
	Witness    *witness = palloc0(sizeof(Witness));

	witness->run = run;
	witness->alarm.ring = witness_send;
	witness->alarm.owner = witness;
	run_open_session(run, &run->services[0], &witness->listener, &witness_events, witness);
	run_open_session(run, &run->services[0], &witness->notifier, &witness_events, witness);
	wait_until(run, witness->ready == WITNESS_SESSIONS || witness->lost > 0, LOGIN_TIMEOUT_MS);
	if (witness->ready < WITNESS_SESSIONS)
		run_end(run, VERDICT_INVALID, "the sessions that are to notice nothing could not be opened");
	alarm_set(&run->clock, &witness->alarm, loop_now_us());
	return witness;
}

/* It has heard everything, in time. */
void
witness_check(Run *run, Witness *witness, double limit_ms)
{
	witness->stopped = true;
	alarm_unset(&run->clock, &witness->alarm);
	wait_until(run, witness->lost > 0 ||
			   (witness->notifier.done == NULL && witness->heard >= witness->sent), limit_ms);
	check_count(run, "earlier sessions that were lost", 0, witness->lost,
				"sessions that were open before the load were ended: see the server log");
	check_count(run, "notifications heard", witness->sent - witness->failed, witness->heard,
				"a session that was open before the load does not hear what is sent to it");
	check_at_most(run, "slowest notification", limit_ms, witness->slowest_us / 1000.0, "ms",
				  "sessions that were open before suffer from the load");
}

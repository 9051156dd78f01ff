/*
 * scripted_session.c
 *		A session with a script: it gets a connection, runs one statement, and
 *		keeps it.
 */
#include "postgres.h"

#include "load/failure.h"
#include "story/scripted_session.h"

#define TRIES		5			/* to get a connection */

const ScriptedSession leak_open = {.sql = "BEGIN; SELECT 1", .leaks = LEAK_IDLE_IN_TRANSACTION};
const ScriptedSession leak_aborted = {.sql = "BEGIN; SELECT 1 / 0", .leaks = LEAK_IDLE_IN_TRANSACTION};

static void
scripted_session_answered(void *arg, const QueryResult *result)
{
	ScriptedSession *scripted = arg;

	scripted->done = scripted->at_work = true;
	if (scripted->releases)
		pool_release(&scripted->request);
}

static void
scripted_session_act(ScriptedSession *scripted)
{
	Session    *session = scripted->request.pool != NULL ? scripted->request.session : &scripted->own;

	scripted->pid = PQbackendPID(session->conn);
	session_query(session, scripted->sql, 0, scripted_session_answered, scripted);
	scripted->at_work = scripted->lasts;
}

/* On a busy machine a login, or a turn in the queue, may take longer than the pool waits: then it tries again. */
static void
scripted_session_ended(Request *request, AcquireEnd end)
{
	ScriptedSession *scripted = (ScriptedSession *) request;

	if (end == ACQUIRE_GRANTED)
		scripted_session_act(scripted);
	else if (end != ACQUIRE_CANCELED && scripted->tries < TRIES)
		scripted_session_take(scripted, request->pool);
	else
		scripted->failed = true;
}

static void
scripted_session_lost(Request *request)
{
	((ScriptedSession *) request)->lost = true;
	pool_release(request);
}

static const RequestEvents scripted_session_events = {
	.ended = scripted_session_ended,
	.lost = scripted_session_lost,
};

static void
own_connected(Session *session, const ConnectResult *result)
{
	ScriptedSession *scripted = session->owner;

	if (result->end == CONNECT_GRANTED)
		scripted_session_act(scripted);
	else
	{
		scripted->failed = true;
		scripted->failure = *result;
	}
}

static void
own_lost(Session *session)
{
	((ScriptedSession *) session->owner)->lost = true;
	session_close(session);
}

static const SessionEvents own_events = {
	.connected = own_connected,
	.lost = own_lost,
};

/* Acquires a connection of the pool, in a few tries. */
void
scripted_session_take(ScriptedSession *scripted, Pool *pool)
{
	scripted->asked = true;
	scripted->tries++;
	scripted->request.events = &scripted_session_events;
	pool_acquire(pool, &scripted->request);
}

/* Opens a session of its own, once. */
void
scripted_session_open(Run *run, const RunParty *party, ScriptedSession *scripted)
{
	scripted->asked = true;
	run_open_session(run, party, &scripted->own, &own_events, scripted);
}

/* Closes its socket in the middle of its statement: no message is sent to the server. */
void
scripted_session_vanish(ScriptedSession *scripted)
{
	scripted->vanished = true;
	session_vanish(&scripted->own);
}

/* Returns whether all of them that have begun are in their states. */
bool
scripted_sessions_at_work(const ScriptedSession *scripted, int n)
{
	for (int i = 0; i < n; i++)
		if (scripted[i].asked && !scripted[i].at_work)
			return false;
	return true;
}

/* Returns whether one of them got no connection, or lost it. */
bool
scripted_session_failed(const ScriptedSession *scripted, int n)
{
	for (int i = 0; i < n; i++)
		if (scripted[i].failed || scripted[i].lost)
			return true;
	return false;
}

/* Waits until all of them that have begun are in their states; returns whether they are. */
bool
scripted_sessions_wait(Run *run, const ScriptedSession *scripted, int n)
{
	wait_until(run, scripted_sessions_at_work(scripted, n) || scripted_session_failed(scripted, n), settle_ms(run));
	return scripted_sessions_at_work(scripted, n) && !scripted_session_failed(scripted, n);
}

/* Returns why one of them is not, for the reason of a run; may be palloc'd. */
const char *
scripted_sessions_failure(const Run *run, const ScriptedSession *scripted, int n)
{
	for (int i = 0; i < n; i++)
		if (scripted[i].failure.message[0] != '\0')
			return connect_failure_text(&scripted[i].failure);
	return failure_text(run, run->pool);
}

/* Waits likewise; ends the run as invalid if they are not. */
void
scripted_sessions_require(Run *run, const ScriptedSession *scripted, int n)
{
	if (!scripted_sessions_wait(run, scripted, n))
		run_end(run, VERDICT_INVALID, "the leaks could not be made: %s", scripted_sessions_failure(run, scripted, n));
}

/* Returns how many of them are leaks, or are none, as that is asked for. */
int
scripted_sessions_count(const ScriptedSession *scripted, int n, bool leaks)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		count += (scripted[i].leaks != LEAK_NONE) == leaks;
	return count;
}

/* Returns how many of those the server has ended. */
int
scripted_sessions_lost(const ScriptedSession *scripted, int n, bool leaks)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		count += scripted[i].lost && (scripted[i].leaks != LEAK_NONE) == leaks;
	return count;
}

/*
 * scripted_session.c
 *		A session with a script: it gets a connection, runs one statement, and
 *		keeps it.
 */
#include "postgres.h"

#include "story/scripted_session.h"

static Session *
scripted_session_of(ScriptedSession *scripted)
{
	return scripted->request.pool != NULL ? scripted->request.session : &scripted->own;
}

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
	Session    *session = scripted_session_of(scripted);

	scripted->pid = PQbackendPID(session->conn);
	session_query(session, scripted->sql, 0, scripted_session_answered, scripted);
	scripted->at_work = scripted->lasts;
}

static void
scripted_session_ended(Request *request, AcquireEnd end)
{
	ScriptedSession *scripted = (ScriptedSession *) request;

	if (end == ACQUIRE_GRANTED)
		scripted_session_act(scripted);
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
		scripted->failed = true;
}

static void
own_lost(Session *session)
{
	((ScriptedSession *) session->owner)->lost = true;
	session_close(session);
}

static void
own_unused(Session *session)
{
}

static const SessionEvents own_events = {
	.connected = own_connected,
	.lost = own_lost,
	.unused = own_unused,
};

/* Acquires a connection of the pool, once. */
void
scripted_session_take(ScriptedSession *scripted, Pool *pool)
{
	scripted->asked = true;
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

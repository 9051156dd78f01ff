/*
 * scripted_session.c
 *		A client with a part to play: it takes a connection, does one thing with
 *		it, and keeps it.
 */
#include "postgres.h"

#include "story/scripted_session.h"

static Session *
actor_session(Actor *actor)
{
	return actor->request.pool != NULL ? actor->request.session : &actor->own;
}

static void
actor_answered(void *arg, const QueryResult *result)
{
	Actor	   *actor = arg;

	actor->done = actor->at_work = true;
	if (actor->gives_back)
		pool_give_back(&actor->request);
}

static void
actor_act(Actor *actor)
{
	Session    *session = actor_session(actor);

	actor->pid = PQbackendPID(session->conn);
	session_query(session, actor->sql, 0, actor_answered, actor);
	actor->at_work = actor->lasts;
}

static void
actor_ended(Request *request, AcquireEnd end)
{
	Actor	   *actor = (Actor *) request;

	if (end == ACQUIRE_GRANTED)
		actor_act(actor);
	else
		actor->failed = true;
}

static void
actor_lost(Request *request)
{
	((Actor *) request)->lost = true;
	pool_give_back(request);
}

static const RequestEvents actor_events = {
	.ended = actor_ended,
	.lost = actor_lost,
};

static void
own_connected(Session *session, const ConnectResult *result)
{
	Actor	   *actor = session->owner;

	if (result->end == CONNECT_GRANTED)
		actor_act(actor);
	else
		actor->failed = true;
}

static void
own_lost(Session *session)
{
	((Actor *) session->owner)->lost = true;
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

/* Takes a connection of the pool.  An actor can play once. */
void
actor_take(Actor *actor, Pool *pool)
{
	actor->asked = true;
	actor->request.events = &actor_events;
	pool_ask(pool, &actor->request);
}

/* Opens a session of its own. */
void
actor_open(Run *run, const RunService *service, Actor *actor)
{
	actor->asked = true;
	run_open_session(run, service, &actor->own, &own_events, actor);
}

/* Goes without a word, in the middle of its statement: the server is not told. */
void
actor_vanish(Actor *actor)
{
	actor->vanished = true;
	session_vanish(&actor->own);
}

/* Are all of them where they are to be, those that were asked to? */
bool
actors_at_work(const Actor *actors, int n)
{
	for (int i = 0; i < n; i++)
		if (actors[i].asked && !actors[i].at_work)
			return false;
	return true;
}

/* Did one get no connection, or lose it? */
bool
actor_failed(const Actor *actors, int n)
{
	for (int i = 0; i < n; i++)
		if (actors[i].failed || actors[i].lost)
			return true;
	return false;
}

/*
 * actors.c
 *		What has a session of its own: people, agents, batches.
 */
#include "actors.h"

static void actor_statement(void *what, int64 arg);
static void actor_begin(void *what, int64 arg);

/* A negative mean is a regular interval. */
static uint64
interval_us(double mean_s)
{
	return mean_s < 0 ? (uint64) (-mean_s * SECOND) : around((uint64) (mean_s * SECOND));
}

static int
row_of(const Habit *habit)
{
	return habit->statements < 0 ? -habit->statements :
		1 + (int) around(habit->statements);
}

static void
actor_noticed(void *what, int64 arg)
{
	Session    *session = session_of((Ref) {(int) (arg >> 32), (int) arg});

	if (session != NULL)
		session_close(session);
}

static void
actor_dead(void *what, int64 arg)
{
	Session    *session = session_of((Ref) {(int) (arg >> 32), (int) arg});

	if (session == NULL)
		return;
	session->client_gone = true;
	session_leak(session, LEAK_DEAD_CLIENT);
}

/* Goes away in the middle of it, if that is to happen, and begins anew later. */
static bool
actor_leaks(Actor *actor, Session *session)
{
	int64		ref = ((int64) session_slot(session) << 32) | session->pid;

	if (injection.dead > 0 && injection.dead--)
	{
		after((uint64) between(0, 90 * SECOND), actor_dead, NULL, ref);
		after((uint64) between(3 * MINUTE, 30 * MINUTE), actor_noticed, NULL, ref);
	}
	else if (injection.in_transaction > 0 && injection.in_transaction--)
	{
		session_turn(session, SLOT_IDLE_IN_TRANSACTION);
		session_leak(session, LEAK_IDLE_IN_TRANSACTION);
	}
	else if (injection.aborted > 0 && injection.aborted--)
	{
		session_turn(session, SLOT_IDLE_IN_TRANSACTION);
		session->aborted = true;
		session_leak(session, LEAK_IDLE_IN_TRANSACTION);
	}
	else
		return false;
	after(MINUTE, actor_begin, actor, 0);
	return true;
}

static void
actor_close(Actor *actor, Session *session)
{
	session_close(session);
	actor->done = true;
	if (!actor->once)
		after(interval_us(actor->habit->away_s), actor_begin, actor, 0);
}

/* A statement is over: a pause, a break, or the end. */
static void
actor_rest(void *what, int64 arg)
{
	Actor	   *actor = what;
	const Habit *habit = actor->habit;
	Session    *session = session_of(actor->ref);
	bool		last = --actor->statements <= 0;

	if (session == NULL)
		return;
	session_turn(session, habit->transaction && !last ? SLOT_IDLE_IN_TRANSACTION : SLOT_IDLE);
	session->held = habit->held;
	if (!last)
		after(interval_us(habit->pause_s), actor_statement, actor, 0);
	else if (habit->breaks > 0 && --actor->breaks <= 0)
		actor_close(actor, session);
	else
	{
		actor->statements = row_of(habit);
		after(interval_us(habit->break_s), actor_statement, actor, 0);
	}
}

static void
actor_statement(void *what, int64 arg)
{
	Actor	   *actor = what;
	Session    *session = session_of(actor->ref);

	if (session == NULL)
		return;
	session->held = false;
	session_turn(session, SLOT_ACTIVE);
	session->listens = actor->habit->listens;
	session->locks = actor->habit->locks;
	if (!actor_leaks(actor, session))
		after(around((uint64) (actor->habit->statement_ms * MS)), actor_rest, actor, 0);
}

static void
actor_ready(void *what, int64 slot)
{
	Actor	   *actor = what;

	if (actor->habit->first_s >= 0)
		after(around((uint64) (actor->habit->first_s * SECOND)), actor_statement, actor, 0);
}

static void
actor_begin(void *what, int64 arg)
{
	Actor	   *actor = what;

	actor->statements = row_of(actor->habit);
	actor->breaks = actor->habit->breaks;
	actor->ref = session_ref(session_open(actor->service, actor->habit->what, actor_ready, actor));
}

/* Comes for the first time within so many seconds. */
Actor *
actor_new(Service *service, const Habit *habit, double begin_s)
{
	Actor	   *actor = world_alloc(sizeof(Actor));

	actor->service = service;
	actor->habit = habit;
	after((uint64) (between(0.5, 1) * begin_s * SECOND), actor_begin, actor, 0);
	return actor;
}

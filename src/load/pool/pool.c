/*
 * pool.c
 *		What is the same for pools of every kind: asking and giving back, and
 *		connections that are held for their own sake.
 */
#include "postgres.h"

#include "load/pool/pool.h"

/*
 * Asks for a connection.  request->events->ended is called once, maybe before
 * this returns; after ACQUIRE_GRANTED the connection is the caller's until
 * pool_release().
 */
void
pool_acquire(Pool *pool, Request *request)
{
	request->pool = pool;
	request->session = NULL;
	request->number = ++pool->asked;
	request->asked_us = request->reached_us = loop_now_us();
	request->connect_us = 0;
	request->queued = false;
	if (pool->draining)
	{
		pool->stats.canceled++;
		request->events->ended(request, ACQUIRE_CANCELED);
		return;
	}
	if (pool->type->admit != NULL && !pool->type->admit(pool, request))
	{
		pool->stats.refused++;
		request->events->ended(request, ACQUIRE_REFUSED);
		return;
	}
	pool->canceled = false;
	request_wait(request);
	pool->type->serve(pool);
}

/* Gives the connection of a granted request back, also one that was lost. */
void
pool_release(Request *request)
{
	Pool	   *pool = request->pool;
	PoolSession *ps = (PoolSession *) request->session;

	pool->stats.held--;
	pool->stats.released++;
	request->session = NULL;
	if (ps != NULL)
		pool->type->release(ps);
	else
		pool->type->serve(pool);
}

/*
 * Ends the requests that wait with ACQUIRE_CANCELED before it returns; logins in
 * flight may go on to their end.
 */
void
pool_cancel(Pool *pool)
{
	pool->canceled = true;
	if (pool->type->cancel != NULL)
		pool->type->cancel(pool);
	while (!dlist_is_empty(&pool->queue))
		request_end(request_oldest(pool), ACQUIRE_CANCELED);
}

/*
 * From now on no request is granted; those that wait are canceled.  What is in
 * use stays so, and logins in flight come to their end.
 */
void
pool_drain(Pool *pool)
{
	pool->draining = true;
	pool_cancel(pool);
}

/*
 * Drains the pool and closes all sessions, those in use too; requests in flight
 * get no event any more.  May be called twice.
 */
void
pool_close(Pool *pool)
{
	pool_drain(pool);
	uv_timer_stop(&pool->pause);
	for (int i = 0; i < pool->nsessions; i++)
		pool_session_close(&pool->sessions[i]);
	if (pool->type->close != NULL)
		pool->type->close(pool);
	dlist_init(&pool->served);
	pool->stats.canceled += pool->stats.wanted;
	pool->stats.held = pool->stats.wanted = 0;
}

static void
hold_ended(Request *request, AcquireEnd end)
{
	Pool	   *pool = request->pool;

	if (end == ACQUIRE_GRANTED)
		dlist_push_tail(&pool->holds, &request->node);
	else
		dlist_push_head(&pool->holds_unused, &request->node);
}

static void
hold_end(Request *request)
{
	dlist_delete(&request->node);
	dlist_push_head(&request->pool->holds_unused, &request->node);
	pool_release(request);
}

static const RequestEvents hold_events = {
	.ended = hold_ended,
	.lost = hold_end,
};

/*
 * For drivers: sets up what is common.  "nsessions" is the most that there are at
 * once, and that pool_acquire_many() may be asked for.
 */
void
pool_init(Pool *pool, const PoolType *type, const PoolLogins *logins, int nsessions)
{
	Request    *holds = palloc_extended(sizeof(Request) * nsessions,
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	pool->type = type;
	pool->logins = *logins;
	pool_sessions_init(pool, nsessions);
	dlist_init(&pool->holds_unused);
	dlist_init(&pool->holds);
	for (int i = 0; i < nsessions; i++)
	{
		holds[i].events = &hold_events;
		dlist_push_tail(&pool->holds_unused, &holds[i].node);
	}
}

/*
 * Asks for n connections to hold.  Their ends show in the figures while the
 * loop turns.
 */
void
pool_acquire_many(Pool *pool, int n)
{
	if (pool->type->acquire_many != NULL)
	{
		pool->type->acquire_many(pool, n);
		return;
	}
	for (; n > 0 && !dlist_is_empty(&pool->holds_unused); n--)
		pool_acquire(pool, dlist_container(Request, node, dlist_pop_head_node(&pool->holds_unused)));
}

/* Gives n of those back, the oldest first. */
void
pool_release_many(Pool *pool, int n)
{
	if (pool->type->release_many != NULL)
	{
		pool->type->release_many(pool, n);
		return;
	}
	for (; n > 0 && !dlist_is_empty(&pool->holds); n--)
		hold_end(dlist_head_element(Request, node, &pool->holds));
}

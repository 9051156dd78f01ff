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
	request->asked_us = loop_now_us();
	request->connect_us = 0;
	request->queued = false;
	if (pool->draining)
		request->events->ended(request, ACQUIRE_CANCELED);
	else
		pool->driver->acquire(pool, request);
}

/* Gives the connection of a granted request back, also one that was lost. */
void
pool_release(Request *request)
{
	Pool	   *pool = request->pool;

	pool->stats.held--;
	pool->stats.released++;
	pool->driver->release(pool, request);
	request->session = NULL;
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

/* For drivers: the request has got this session. */
void
pool_grant(Pool *pool, Request *request, Session *session)
{
	PoolStats  *stats = &pool->stats;
	uint64		wait_us = loop_now_us() - request->asked_us;

	stats->granted++;
	stats->held++;
	stats->peak_held = Max(stats->peak_held, stats->held);
	histogram_add(&pool->waits, wait_us);
	if (pool->latency != NULL)
		histogram_add(pool->latency, wait_us);
	request->session = session;
	request->events->ended(request, ACQUIRE_GRANTED);
}

/* For drivers: the server has refused a login; whether a request ends so is theirs. */
void
pool_count_refusal(Pool *pool, const ConnectResult *result)
{
	PoolStats  *stats = &pool->stats;

	pool->last_refusal = *result;
	stats->refused_by[result->cause]++;
	stats->slowest_refusal_us = Max(stats->slowest_refusal_us, result->took_us);
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
 * For drivers: sets up what is common.  holds_max is the most that
 * pool_acquire_many() may be asked for.
 */
void
pool_init(Pool *pool, const PoolDriver *driver, int holds_max)
{
	Request    *holds = palloc_extended(sizeof(Request) * holds_max,
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	pool->driver = driver;
	dlist_init(&pool->holds_unused);
	dlist_init(&pool->holds);
	for (int i = 0; i < holds_max; i++)
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
	for (; n > 0 && !dlist_is_empty(&pool->holds_unused); n--)
		pool_acquire(pool, dlist_container(Request, node, dlist_pop_head_node(&pool->holds_unused)));
}

/* Gives n of those back, the oldest first. */
void
pool_release_many(Pool *pool, int n)
{
	for (; n > 0 && !dlist_is_empty(&pool->holds); n--)
		hold_end(dlist_head_element(Request, node, &pool->holds));
}

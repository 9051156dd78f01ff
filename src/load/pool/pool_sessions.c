/*
 * pool_sessions.c
 *		The sessions of a pool and the requests that wait for them: what the drivers
 *		have in common.
 *
 * A request waits in the queue until the type of its pool grants it an idle session, or
 * has a session at work for it: one that logs in, or begins what the request needs.  A
 * session is
 *
 *		opening -> idle -> beginning -> in use -> resetting -> idle
 *
 * where each type of pool leaves out what it does not need, and is closed from any of
 * these states.
 */
#include "postgres.h"

#include "load/pool/pool_sessions.h"

/* Before a connect that the kernel's queue had no room for is tried again. */
#define BACKLOG_RETRY_MS	5

/* After a login that failed, before the next one is tried: see shares_logins. */
#define OPEN_RETRY_MS		100

/* ---------- Requests ---------- */

/* A new request goes to the end of the queue. */
void
request_wait(Request *request)
{
	dlist_push_tail(&request->pool->queue, &request->node);
	request->pool->stats.wanted++;
}

/* From now on this session is at work for the oldest request of the queue, which must not be empty. */
void
request_serve(PoolSession *ps)
{
	Pool	   *pool = pool_of(ps);

	ps->request = request_oldest(pool);
	dlist_delete(&ps->request->node);
	dlist_push_tail(&pool->served, &ps->request->node);
}

/* It returns to the queue, ahead of those that came later. */
static void
request_return(Request *request)
{
	dlist_head *queue = &request->pool->queue;
	dlist_node *before = &queue->head;
	dlist_iter	iter;

	dlist_delete(&request->node);
	dlist_foreach(iter, queue)
	{
		if (dlist_container(Request, node, iter.cur)->number > request->number)
			break;
		before = iter.cur;
	}
	dlist_insert_after(before, &request->node);
}

/* It waits no longer: its node is its user's again. */
void
request_leave(Request *request)
{
	dlist_delete(&request->node);
	request->pool->stats.wanted--;
}

/* It ends like that: counts it, and reports it to its user. */
void
request_end(Request *request, AcquireEnd end)
{
	PoolStats  *stats = &request->pool->stats;

	request_leave(request);
	stats->refused += end == ACQUIRE_REFUSED;
	stats->timed_out += end == ACQUIRE_TIMED_OUT;
	stats->failed += end == ACQUIRE_FAILED;
	stats->canceled += end == ACQUIRE_CANCELED;
	if (end == ACQUIRE_TIMED_OUT)
		request->pool->timed_out_us = loop_now_us();
	request->events->ended(request, end);
}

/* ---------- Sessions ---------- */

static bool
state_is_open(PoolSessionState state)
{
	return state != POOL_SESSION_UNUSED && state != POOL_SESSION_CLOSING;
}

/*
 * The one function that changes the state of a session: takes it off the list of
 * the old state, puts it into that of the new one, and counts.
 */
void
pool_session_change(PoolSession *ps, PoolSessionState state)
{
	Pool	   *pool = pool_of(ps);
	PoolSessionState old = ps->state;
	dlist_node *node = &ps->session.node;

	if (old == POOL_SESSION_UNUSED || old == POOL_SESSION_IDLE)
		dlist_delete(node);
	pool->nopen += state_is_open(state) - state_is_open(old);
	pool->nidle += (state == POOL_SESSION_IDLE) - (old == POOL_SESSION_IDLE);
	pool->stats.opening += (state == POOL_SESSION_OPENING) - (old == POOL_SESSION_OPENING);
	ps->state = state;
	if (state == POOL_SESSION_UNUSED)
		dlist_push_head(&pool->unused, node);
	else if (state == POOL_SESSION_IDLE && pool->idle_order == IDLE_LIFO)
		dlist_push_head(&pool->idle, node);
	else if (state == POOL_SESSION_IDLE)
		dlist_push_tail(&pool->idle, node);
	if (state != POOL_SESSION_OPENING && state != POOL_SESSION_BEGINNING && state != POOL_SESSION_IN_USE)
		ps->request = NULL;
}

/* Closes a session that is open; its request, if it had one, is the caller's. */
void
pool_session_close(PoolSession *ps)
{
	if (!state_is_open(ps->state))
		return;
	pool_session_change(ps, POOL_SESSION_CLOSING);
	session_close(&ps->session);
}

/* The request, which waited, gets this session. */
void
pool_session_grant(PoolSession *ps, Request *request)
{
	Pool	   *pool = pool_of(ps);
	PoolStats  *stats = &pool->stats;
	uint64		wait_us = loop_now_us() - request->asked_us;

	request_leave(request);
	pool_session_change(ps, POOL_SESSION_IN_USE);
	ps->request = request;
	request->session = &ps->session;
	stats->granted++;
	stats->held++;
	stats->peak_held = Max(stats->peak_held, stats->held);
	histogram_add(&pool->waits, wait_us);
	if (pool->latency != NULL)
		histogram_add(pool->latency, wait_us);
	request->events->ended(request, ACQUIRE_GRANTED);
}

/*
 * A session that was to serve a request has failed: closes it, and ends the
 * request, if there is one, with that failure.  A pool without a queue refuses when
 * it is full: that is no failure.
 */
void
pool_session_fail(PoolSession *ps, const ConnectResult *failure)
{
	Pool	   *pool = pool_of(ps);
	PoolStats  *stats = &pool->stats;
	Request    *request = ps->request;
	bool		refused = failure->end == CONNECT_REFUSED;

	pool_session_close(ps);
	if (refused)
	{
		pool->last_refusal = *failure;
		stats->refused_by[failure->cause]++;
		stats->slowest_refusal_us = Max(stats->slowest_refusal_us, failure->took_us);
	}
	if (!refused || pool->type->queues)
	{
		pool->last_failure = *failure;
		pool->failed_us = loop_now_us();
	}
	if (request == NULL && pool->type->shares_logins && stats->wanted > 0)
		request = request_oldest(pool);
	if (request == NULL)
		return;
	if (pool->type->queues && failure->cause == CAUSE_POOLER_QUEUE_TIMEOUT)
		request_end(request, ACQUIRE_TIMED_OUT);
	else
		request_end(request, refused ? ACQUIRE_REFUSED : ACQUIRE_FAILED);
}

/* ---------- Logins ---------- */

bool
pool_is_paused(const Pool *pool)
{
	return uv_is_active((const uv_handle_t *) &pool->pause);
}

/* Returns whether one more login may begin now. */
bool
pool_may_open(const Pool *pool)
{
	return pool->stats.opening < pool->logins.handshakes && !dlist_is_empty((dlist_head *) &pool->unused) &&
		!pool_is_paused(pool);
}

static void
pool_pause_over(uv_timer_t *timer)
{
	Pool	   *pool = timer->data;

	pool->type->serve(pool);
}

/* For so long no login begins; then the pool is served again. */
void
pool_pause(Pool *pool, int ms)
{
	uv_timer_start(&pool->pause, pool_pause_over, ms, 0);
}

/* The login found the kernel's queue full: it is tried again in a moment. */
static void
pool_session_postpone(PoolSession *ps)
{
	Pool	   *pool = pool_of(ps);
	Request    *request = ps->request;

	pool->stats.stalled++;
	pool_pause(pool, BACKLOG_RETRY_MS);
	pool_session_close(ps);
	if (request != NULL && pool->canceled)
		request_end(request, ACQUIRE_CANCELED);
	else if (request != NULL)
		request_return(request);
}

static void
pool_session_connected(Session *session, const ConnectResult *result)
{
	PoolSession *ps = (PoolSession *) session;
	Pool	   *pool = pool_of(ps);

	ps->opened_us = loop_now_us();
	ps->connect_us = result->took_us;
	if (ps->request != NULL)
	{
		ps->request->connect_us = result->took_us;
		ps->request->reached_us = ps->opened_us;
	}
	if (result->end == CONNECT_GRANTED)
		pool->type->opened(ps);
	else if (result->end == CONNECT_BACKLOG)
		pool_session_postpone(ps);
	else
	{
		pool->stats.given_up += result->end == CONNECT_TIMED_OUT;
		pool->stats.broken += result->end == CONNECT_BROKEN;
		if (pool->type->shares_logins)
			pool_pause(pool, OPEN_RETRY_MS);
		pool_session_fail(ps, result);
	}
	pool->type->serve(pool);
}

/* A request that holds it learns that, and releases it. */
static void
pool_session_lost(Session *session)
{
	PoolSession *ps = (PoolSession *) session;
	Pool	   *pool = pool_of(ps);
	Request    *request = ps->request;
	bool		in_use = ps->state == POOL_SESSION_IN_USE;
	ConnectResult failure;

	session_failure(session, &failure);
	if (ps->state == POOL_SESSION_BEGINNING)
		pool_session_fail(ps, &failure);
	else
		pool_session_close(ps);
	if (in_use)
	{
		pool->stats.lost++;
		pool->last_loss = failure;
		pool->lost_us = loop_now_us();
		request->session = NULL;
		request->events->lost(request);
	}
	pool->type->serve(pool);
}

static void
pool_session_unused(Session *session)
{
	Pool	   *pool = session->owner;

	pool_session_change((PoolSession *) session, POOL_SESSION_UNUSED);
	pool->type->serve(pool);
}

/* What a request begins with may say so itself; after that it is for its user. */
static void
pool_session_began(Session *session)
{
	PoolSession *ps = (PoolSession *) session;

	if (ps->state == POOL_SESSION_BEGINNING)
		pool_session_grant(ps, ps->request);
	else if (ps->state == POOL_SESSION_IN_USE && ps->request->events->began != NULL)
		ps->request->events->began(ps->request);
}

static const SessionEvents pool_session_events = {
	.connected = pool_session_connected,
	.lost = pool_session_lost,
	.unused = pool_session_unused,
	.began = pool_session_began,
};

/*
 * Begins a login, for the oldest request of the queue unless logins are shared.
 * pool_may_open() must be true.
 */
void
pool_session_open(Pool *pool)
{
	PoolSession *ps = dlist_head_element(PoolSession, session.node, &pool->unused);
	PoolLogins *logins = &pool->logins;

	pool_session_change(ps, POOL_SESSION_OPENING);
	if (!pool->type->shares_logins)
		request_serve(ps);
	session_open(&ps->session, logins->loop, logins->login, logins->timeout_ms, &pool_session_events, pool);
	logins->login = login_next(logins->login);
}

/* Makes so many sessions, unused, in the current memory context, and an empty queue. */
void
pool_sessions_init(Pool *pool, int nsessions)
{
	pool->sessions = palloc_extended(sizeof(PoolSession) * nsessions, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	pool->nsessions = nsessions;
	dlist_init(&pool->unused);
	dlist_init(&pool->idle);
	dlist_init(&pool->queue);
	dlist_init(&pool->served);
	for (int i = 0; i < nsessions; i++)
	{
		pool->sessions[i].session.owner = pool;
		dlist_push_tail(&pool->unused, &pool->sessions[i].session.node);
	}
	uv_timer_init(&pool->logins.loop->uv, &pool->pause);
	pool->pause.data = pool;
}

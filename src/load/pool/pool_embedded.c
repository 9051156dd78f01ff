/*
 * pool_embedded.c
 *		An application-style pool over real connections, in the runner itself.
 *
 * Up to pool_size + max_overflow connections, opened when they are wanted.
 * Requests queue, and the oldest of them gets the next connection,
 * whether that has come back or is new; docs/pools.md compares the rules with
 * those of other pools.  A connection is
 *
 *		opening -> idle <-> in use -> (resetting) -> idle
 *
 * and takes its place in the pool from the moment it is opened until it is
 * closed.  No step costs more when more requests wait.
 */
#include "postgres.h"

#include "load/pool/pool.h"

/* Closed ones need a moment until libuv has let go of them. */
#define SESSIONS_FACTOR		3

typedef struct EmbeddedPool
{
	Pool		pool;			/* must be first; stats.wanted is the length of the queue */
	EmbeddedPoolConfig config;
	Alarm		timeout;		/* of the oldest request, or earlier */
	bool		wakeup_lost;	/* FAULT_LOST_WAKEUP has bitten */
} EmbeddedPool;

static void embedded_serve(Pool *pool);

static inline int
embedded_capacity(const EmbeddedPool *ep)
{
	return ep->config.pool_size + ep->config.max_overflow;
}

static bool
embedded_has_room(const EmbeddedPool *ep)
{
	return ep->pool.nopen < embedded_capacity(ep) || ep->config.fault == FAULT_NO_LIMIT;
}

/* Returns the request that is served next; the queue must not be empty. */
static Request *
embedded_next(EmbeddedPool *ep)
{
	return ep->config.fault == FAULT_LIFO
		? dlist_tail_element(Request, node, &ep->pool.queue) : request_oldest(&ep->pool);
}

/* Returns whether it is too old; counts it then, as one that is closed for that. */
static bool
connection_expired(EmbeddedPool *ep, const PoolSession *connection)
{
	bool		expired = ep->config.max_lifetime_ms > 0 &&
		loop_now_us() - connection->opened_us >= (uint64) ep->config.max_lifetime_ms * 1000;

	ep->pool.stats.expired += expired;
	return expired;
}

/* It is fit for use: for a request that waits, or for the next one. */
static void
connection_put(PoolSession *connection)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool_of(connection);
	bool		keep = ep->pool.stats.wanted > 0 || ep->pool.nidle < ep->config.pool_size;

	if (connection_expired(ep, connection) || !keep)
		pool_session_close(connection);
	else
		pool_session_change(connection, POOL_SESSION_IDLE);
	embedded_serve(&ep->pool);
}

/* Returns an idle connection that is not too old, NULL if there is none. */
static PoolSession *
embedded_idle(EmbeddedPool *ep)
{
	while (!dlist_is_empty(&ep->pool.idle))
	{
		PoolSession *connection = dlist_head_element(PoolSession, session.node, &ep->pool.idle);

		if (!connection_expired(ep, connection))
			return connection;
		pool_session_close(connection);
	}
	return NULL;
}

static void
embedded_grant(Request *request, PoolSession *connection)
{
	if (connection->connect_us > 0)
		request->connect_us = Min(connection->connect_us, loop_now_us() - request->asked_us);
	connection->connect_us = 0;
	pool_session_grant(connection, request);
}

/* FAULT_SLOW_GRANT: the oldest must wait a little longer. */
static bool
embedded_held_back(EmbeddedPool *ep)
{
	uint64		from_us;
	uint64		now_us;

	if (ep->config.fault != FAULT_SLOW_GRANT)
		return false;
	from_us = request_oldest(&ep->pool)->asked_us + (uint64) ep->config.slow_grant_ms * 1000;
	now_us = loop_now_us();
	if (now_us >= from_us)
		return false;
	if (!pool_is_paused(&ep->pool))
		pool_pause(&ep->pool, (int) ((from_us - now_us) / 1000) + 1);
	return true;
}

static uint64
embedded_timeout_us(const EmbeddedPool *ep)
{
	int			divisor = ep->config.fault == FAULT_EARLY_TIMEOUT ? 2 : 1;

	return (uint64) ep->config.timeout_ms * 1000 / divisor;
}

/* All wait equally long, so the oldest is the first that times out. */
static void
embedded_watch_time(EmbeddedPool *ep)
{
	if (!ep->timeout.set && ep->pool.stats.wanted > 0 && ep->config.fault != FAULT_IGNORE_TIMEOUT)
		alarm_set(ep->config.clock, &ep->timeout,
				  request_oldest(&ep->pool)->asked_us + embedded_timeout_us(ep));
}

/* Hands out what there is, and opens what is still missing. */
static void
embedded_serve(Pool *pool)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;
	PoolSession *connection;

	while (pool->stats.wanted > 0 && !embedded_held_back(ep) && (connection = embedded_idle(ep)) != NULL)
		embedded_grant(embedded_next(ep), connection);
	while (pool->stats.opening < pool->stats.wanted && embedded_has_room(ep) && pool_may_open(pool))
		pool_session_open(pool);
	embedded_watch_time(ep);
}

static void
embedded_time_out(Alarm *alarm)
{
	EmbeddedPool *ep = alarm->owner;
	uint64		timeout_us = embedded_timeout_us(ep);
	uint64		now_us = loop_now_us();

	while (ep->pool.stats.wanted > 0 && request_oldest(&ep->pool)->asked_us + timeout_us <= now_us)
		request_end(request_oldest(&ep->pool), ACQUIRE_TIMED_OUT);
	embedded_watch_time(ep);
}

static bool
embedded_admit(Pool *pool, Request *request)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;
	int			coming = pool->nidle + pool->stats.opening + Max(embedded_capacity(ep) - pool->nopen, 0);

	request->queued = pool->stats.wanted >= coming;
	return ep->config.max_waiting == 0 || pool->stats.wanted < coming + ep->config.max_waiting;
}

static void
connection_replace(PoolSession *connection)
{
	Pool	   *pool = pool_of(connection);

	pool->stats.replaced++;
	pool_session_close(connection);
	embedded_serve(pool);
}

static void
connection_reset_done(void *arg, const QueryResult *result)
{
	PoolSession *connection = arg;

	if (result->ok && PQtransactionStatus(connection->session.conn) == PQTRANS_IDLE)
		connection_put(connection);
	else
		connection_replace(connection);
}

/* What its user left open must not reach the next one. */
static void
embedded_release(PoolSession *connection)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool_of(connection);

	if (ep->config.fault == FAULT_LOST_WAKEUP && ep->pool.stats.wanted > 0 && !ep->wakeup_lost)
	{
		ep->wakeup_lost = true;
		request_leave(embedded_next(ep));
	}
	switch (PQtransactionStatus(connection->session.conn))
	{
		case PQTRANS_IDLE:
			connection_put(connection);
			break;
		case PQTRANS_INTRANS:
		case PQTRANS_INERROR:
			pool_session_change(connection, POOL_SESSION_RESETTING);
			session_query(&connection->session, "ROLLBACK", ep->config.connect_timeout_ms,
						  connection_reset_done, connection);
			break;
		default:
			connection_replace(connection);
	}
}

static void
embedded_cancel(Pool *pool)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;

	alarm_unset(ep->config.clock, &ep->timeout);
}

static void
embedded_read_state(Pool *pool, PoolState *truth)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;
	int			extra = ep->config.fault == FAULT_MISCOUNT && pool->stats.granted > 0;

	truth->capacity = embedded_capacity(ep);
	truth->in_use = truth->ours = pool->stats.held + extra;
	truth->idle = pool->nidle;
	truth->overflow = Max(truth->in_use - ep->config.pool_size, 0);
	truth->waiting = pool->stats.wanted;
	truth->oldest_us = pool->stats.wanted > 0 ? request_oldest(pool)->asked_us : 0;
	truth->granted += extra;
	truth->full_cause = CAUSE_NONE;
}

static const PoolType pool_embedded = {
	.kind = "pool",
	.queues = true,
	.shares_logins = true,
	.read_state = embedded_read_state,
	.admit = embedded_admit,
	.serve = embedded_serve,
	.opened = connection_put,
	.release = embedded_release,
	.cancel = embedded_cancel,
};

/*
 * Makes such a pool.  Opens no connection.  The pool and its connections live
 * in the current memory context, which must outlive the loop.
 */
Pool *
pool_open_embedded(const EmbeddedPoolConfig *config)
{
	EmbeddedPool *ep = palloc0(sizeof(EmbeddedPool));
	PoolLogins	logins = {config->loop, config->login, config->handshakes, config->connect_timeout_ms};

	ep->config = *config;
	pool_init(&ep->pool, &pool_embedded, &logins, embedded_capacity(ep) * SESSIONS_FACTOR);
	ep->pool.idle_order = config->idle_order;
	ep->timeout.ring = embedded_time_out;
	ep->timeout.owner = ep;
	return &ep->pool;
}

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

#include "lib/ilist.h"

#include "load/pool/pool_sessions.h"

/* After a login that failed, before the next one is tried. */
#define OPEN_RETRY_MS		100

/* Closed ones need a moment until libuv has let go of them. */
#define SESSIONS_FACTOR		3

/* Only connection_change() sets it. */
typedef enum ConnectionState
{
	CONNECTION_UNUSED,
	CONNECTION_OPENING,
	CONNECTION_IDLE,
	CONNECTION_IN_USE,
	CONNECTION_RESETTING,
	CONNECTION_CLOSING			/* its place is free, libuv has not let go of it yet */
} ConnectionState;

typedef struct Connection
{
	Session		session;		/* must be first; its node is in unused or idle */
	ConnectionState state;
	Request    *request;		/* while in use */
	uint64		opened_us;
	uint64		connect_us;		/* what that took; 0 once it was handed out */
} Connection;

typedef struct EmbeddedPool
{
	Pool		pool;			/* must be first; stats.wanted is the queue */
	EmbeddedPoolConfig config;
	Connection *connections;
	int			nconnections;	/* in the array */
	int			open;			/* that have a place in the pool */
	int			nidle;
	dlist_head	unused;
	dlist_head	idle;			/* the next to be handed out first */
	dlist_head	waiting;		/* requests, the oldest first */
	Alarm		timeout;		/* of the oldest, or earlier */
	Alarm		retry;			/* no login before that */
	bool		wakeup_lost;	/* FAULT_LOST_WAKEUP has bitten */
} EmbeddedPool;

static void embedded_serve(EmbeddedPool *ep);

static inline int
embedded_capacity(const EmbeddedPool *ep)
{
	return ep->config.pool_size + ep->config.max_overflow;
}

static bool
embedded_has_room(const EmbeddedPool *ep)
{
	return ep->open < embedded_capacity(ep) || ep->config.fault == FAULT_NO_LIMIT;
}

/* The queue must not be empty. */
static Request *
embedded_oldest(EmbeddedPool *ep)
{
	return dlist_head_element(Request, node, &ep->waiting);
}

/* Takes the next request off the queue. */
static Request *
embedded_next(EmbeddedPool *ep)
{
	dlist_node *node = ep->config.fault == FAULT_LIFO
		? dlist_tail_node(&ep->waiting) : dlist_head_node(&ep->waiting);

	dlist_delete(node);
	ep->pool.stats.wanted--;
	return dlist_container(Request, node, node);
}

static bool
state_has_place(ConnectionState state)
{
	return state != CONNECTION_UNUSED && state != CONNECTION_CLOSING;
}

/*
 * The one function that changes the state of a connection: takes it off the list
 * of the old state, puts it into that of the new one, and counts.
 */
static void
connection_change(EmbeddedPool *ep, Connection *connection, ConnectionState state)
{
	ConnectionState old = connection->state;
	dlist_node *node = &connection->session.node;

	if (old == CONNECTION_UNUSED || old == CONNECTION_IDLE)
		dlist_delete(node);
	ep->open += state_has_place(state) - state_has_place(old);
	ep->nidle += (state == CONNECTION_IDLE) - (old == CONNECTION_IDLE);
	ep->pool.stats.opening += (state == CONNECTION_OPENING) - (old == CONNECTION_OPENING);
	connection->state = state;
	if (state == CONNECTION_UNUSED)
		dlist_push_head(&ep->unused, node);
	else if (state == CONNECTION_IDLE && ep->config.idle_order == IDLE_LIFO)
		dlist_push_head(&ep->idle, node);
	else if (state == CONNECTION_IDLE)
		dlist_push_tail(&ep->idle, node);
}

/* Gives up the connection and its place; others may have that now. */
static void
connection_close(EmbeddedPool *ep, Connection *connection)
{
	connection_change(ep, connection, CONNECTION_CLOSING);
	session_close(&connection->session);
}

static bool
connection_expired(const EmbeddedPool *ep, const Connection *connection)
{
	return ep->config.max_lifetime_ms > 0 &&
		loop_now_us() - connection->opened_us >= (uint64) ep->config.max_lifetime_ms * 1000;
}

/* It is fit for use: for a request that waits, or for the next one. */
static void
connection_put(EmbeddedPool *ep, Connection *connection)
{
	bool		keep = ep->pool.stats.wanted > 0 || ep->nidle < ep->config.pool_size;

	if (connection_expired(ep, connection))
	{
		ep->pool.stats.expired++;
		keep = false;
	}
	connection_change(ep, connection, CONNECTION_IDLE);
	if (!keep)
		connection_close(ep, connection);
	embedded_serve(ep);
}

/* Returns an idle connection that is not too old, NULL if there is none. */
static Connection *
connection_take(EmbeddedPool *ep)
{
	while (!dlist_is_empty(&ep->idle))
	{
		Connection *connection = dlist_container(Connection, session.node,
												 dlist_head_node(&ep->idle));

		if (!connection_expired(ep, connection))
		{
			connection_change(ep, connection, CONNECTION_IN_USE);
			return connection;
		}
		ep->pool.stats.expired++;
		connection_close(ep, connection);
	}
	return NULL;
}

static void
connection_open(EmbeddedPool *ep)
{
	Connection *connection = dlist_head_element(Connection, session.node, &ep->unused);

	connection_change(ep, connection, CONNECTION_OPENING);
	session_open(&connection->session, ep->config.loop, ep->config.login,
				 ep->config.connect_timeout_ms, connection->session.events, ep);
}

static void
embedded_grant(EmbeddedPool *ep, Request *request, Connection *connection)
{
	connection->request = request;
	request->connect_us = Min(connection->connect_us, loop_now_us() - request->asked_us);
	connection->connect_us = 0;
	pool_grant(&ep->pool, request, &connection->session);
}

/* FAULT_SLOW_GRANT: the oldest must wait a little longer. */
static bool
embedded_held_back(EmbeddedPool *ep)
{
	uint64		from_us = embedded_oldest(ep)->asked_us + (uint64) ep->config.slow_grant_ms * 1000;

	if (ep->config.fault != FAULT_SLOW_GRANT || loop_now_us() >= from_us)
		return false;
	if (!ep->retry.set)
		alarm_set(ep->config.clock, &ep->retry, from_us);
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
				  embedded_oldest(ep)->asked_us + embedded_timeout_us(ep));
}

/* Hands out what there is, and opens what is still missing. */
static void
embedded_serve(EmbeddedPool *ep)
{
	PoolStats  *stats = &ep->pool.stats;
	Connection *connection;

	while (stats->wanted > 0 && !embedded_held_back(ep) && (connection = connection_take(ep)) != NULL)
		embedded_grant(ep, embedded_next(ep), connection);
	while (stats->opening < Min(stats->wanted, ep->config.handshakes) && embedded_has_room(ep) &&
		   !ep->retry.set && !dlist_is_empty(&ep->unused))
		connection_open(ep);
	embedded_watch_time(ep);
}

static void
embedded_retry(Alarm *alarm)
{
	embedded_serve(alarm->owner);
}

static void
embedded_time_out(Alarm *alarm)
{
	EmbeddedPool *ep = alarm->owner;
	uint64		timeout_us = embedded_timeout_us(ep);
	uint64		now_us = loop_now_us();

	while (ep->pool.stats.wanted > 0 && embedded_oldest(ep)->asked_us + timeout_us <= now_us)
	{
		Request    *request = dlist_container(Request, node, dlist_pop_head_node(&ep->waiting));

		ep->pool.stats.wanted--;
		ep->pool.stats.timed_out++;
		request->events->ended(request, ACQUIRE_TIMED_OUT);
	}
	embedded_watch_time(ep);
}

/*
 * A login failed: its place is free again, and the next request in the queue ends
 * with that failure.  The next login is tried a moment later.
 */
static void
embedded_not_opened(EmbeddedPool *ep, const ConnectResult *result)
{
	PoolStats  *stats = &ep->pool.stats;
	bool		refused = result->end == CONNECT_REFUSED;
	Request    *request;

	alarm_set(ep->config.clock, &ep->retry, loop_now_us() + OPEN_RETRY_MS * 1000);
	ep->pool.last_failure = *result;
	stats->given_up += result->end == CONNECT_TIMED_OUT;
	if (refused)
		pool_count_refusal(&ep->pool, result);
	if (stats->wanted == 0)
		return;
	request = embedded_next(ep);
	if (refused)
		stats->refused++;
	else
		stats->failed++;
	request->events->ended(request, refused ? ACQUIRE_REFUSED : ACQUIRE_FAILED);
}

static void
connection_connected(Session *session, const ConnectResult *result)
{
	EmbeddedPool *ep = session->owner;
	Connection *connection = (Connection *) session;

	if (result->end == CONNECT_GRANTED)
	{
		connection->opened_us = loop_now_us();
		connection->connect_us = result->took_us;
		connection_put(ep, connection);
		return;
	}
	connection_close(ep, connection);
	if (result->end == CONNECT_BACKLOG)
	{
		ep->pool.stats.stalled++;
		alarm_set(ep->config.clock, &ep->retry, loop_now_us() + BACKLOG_RETRY_MS * 1000);
	}
	else
		embedded_not_opened(ep, result);
	embedded_serve(ep);
}

/* A request that holds it learns that, and releases it; one that waits gets another. */
static void
connection_lost(Session *session)
{
	EmbeddedPool *ep = session->owner;
	Connection *connection = (Connection *) session;
	Request    *request = connection->state == CONNECTION_IN_USE ? connection->request : NULL;

	connection_close(ep, connection);
	if (request != NULL)
		pool_lose(request, NULL);
	embedded_serve(ep);
}

static void
connection_unused(Session *session)
{
	EmbeddedPool *ep = session->owner;

	connection_change(ep, (Connection *) session, CONNECTION_UNUSED);
	embedded_serve(ep);
}

static const SessionEvents connection_events = {
	.connected = connection_connected,
	.lost = connection_lost,
	.unused = connection_unused,
};

static void
embedded_acquire(Pool *pool, Request *request)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;
	int			coming = ep->nidle + pool->stats.opening + Max(embedded_capacity(ep) - ep->open, 0);

	request->queued = pool->stats.wanted >= coming;
	if (ep->config.max_waiting > 0 && pool->stats.wanted >= coming + ep->config.max_waiting)
	{
		pool->stats.refused++;
		request->events->ended(request, ACQUIRE_REFUSED);
		return;
	}
	dlist_push_tail(&ep->waiting, &request->node);
	pool->stats.wanted++;
	embedded_serve(ep);
}

static void
connection_replace(EmbeddedPool *ep, Connection *connection)
{
	ep->pool.stats.replaced++;
	connection_close(ep, connection);
	embedded_serve(ep);
}

static void
connection_reset_done(void *arg, const QueryResult *result)
{
	Connection *connection = arg;
	EmbeddedPool *ep = connection->session.owner;

	if (result->ok && PQtransactionStatus(connection->session.conn) == PQTRANS_IDLE)
		connection_put(ep, connection);
	else
		connection_replace(ep, connection);
}

/* What its user left open must not reach the next one. */
static void
connection_reset(EmbeddedPool *ep, Connection *connection)
{
	switch (PQtransactionStatus(connection->session.conn))
	{
		case PQTRANS_IDLE:
			connection_put(ep, connection);
			break;
		case PQTRANS_INTRANS:
		case PQTRANS_INERROR:
			connection_change(ep, connection, CONNECTION_RESETTING);
			session_query(&connection->session, "ROLLBACK", ep->config.connect_timeout_ms,
						  connection_reset_done, connection);
			break;
		default:
			connection_replace(ep, connection);
	}
}

static void
embedded_release(Pool *pool, Request *request)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;

	if (ep->config.fault == FAULT_LOST_WAKEUP && pool->stats.wanted > 0 && !ep->wakeup_lost)
	{
		ep->wakeup_lost = true;
		(void) embedded_next(ep);
	}
	if (request->session == NULL)
		embedded_serve(ep);		/* its place was given up when it was lost */
	else
		connection_reset(ep, (Connection *) request->session);
}

static void
embedded_cancel(Pool *pool)
{
	pool_cancel_requests(pool, &((EmbeddedPool *) pool)->waiting);
}

static void
embedded_close(Pool *pool)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;

	pool_drain(pool);
	alarm_unset(ep->config.clock, &ep->timeout);
	alarm_unset(ep->config.clock, &ep->retry);
	for (int i = 0; i < ep->nconnections; i++)
		if (state_has_place(ep->connections[i].state))
			connection_close(ep, &ep->connections[i]);
	pool->stats.held = 0;
}

static void
embedded_read_state(Pool *pool, PoolState *truth)
{
	EmbeddedPool *ep = (EmbeddedPool *) pool;
	int			extra = ep->config.fault == FAULT_MISCOUNT && pool->stats.granted > 0;

	truth->capacity = embedded_capacity(ep);
	truth->in_use = truth->ours = pool->stats.held + extra;
	truth->idle = ep->nidle;
	truth->overflow = Max(truth->in_use - ep->config.pool_size, 0);
	truth->waiting = pool->stats.wanted;
	truth->oldest_us = pool->stats.wanted > 0 ? embedded_oldest(ep)->asked_us : 0;
	truth->granted += extra;
	truth->full_cause = CAUSE_NONE;
}

static const PoolDriver pool_embedded = {
	.kind = "pool",
	.queues = true,
	.read_state = embedded_read_state,
	.acquire = embedded_acquire,
	.release = embedded_release,
	.cancel = embedded_cancel,
	.close = embedded_close,
};

/*
 * Makes such a pool.  Opens no connection.  The pool and its connections live
 * in the current memory context, which must outlive the loop.
 */
Pool *
pool_open_embedded(const EmbeddedPoolConfig *config)
{
	EmbeddedPool *ep = palloc0(sizeof(EmbeddedPool));

	ep->config = *config;
	ep->nconnections = embedded_capacity(ep) * SESSIONS_FACTOR;
	pool_init(&ep->pool, &pool_embedded, embedded_capacity(ep) * SESSIONS_FACTOR);
	ep->connections = pool_make_sessions(ep->nconnections, sizeof(Connection), &connection_events, ep, &ep->unused);
	dlist_init(&ep->idle);
	dlist_init(&ep->waiting);
	ep->timeout.ring = embedded_time_out;
	ep->retry.ring = embedded_retry;
	ep->timeout.owner = ep->retry.owner = ep;
	return &ep->pool;
}

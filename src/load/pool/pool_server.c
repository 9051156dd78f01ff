/*
 * pool_server.c
 *		The pools that this server itself is: its slots (server), or what the
 *		CONNECTION LIMIT of one login role leaves of them (role); the same of
 *		another server (postgres); and the clients that PgBouncer may have.
 *
 * None queues: when it is full it refuses.  All open a real libpq session
 * for each request, a bounded number of handshakes at a time: one at a time
 * reaches half the rate, and more than the listen queue holds would be the
 * kernel's problem.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "miscadmin.h"

#include "load/pool/pool_sessions.h"
#include "load/target/probe.h"
#include "observe/slots/census.h"

typedef struct ServerSession
{
	Session		session;		/* must be first */
	Request    *request;		/* that it was opened for */
} ServerSession;

typedef struct ServerPool
{
	Pool		pool;			/* must be first */
	ServerPoolConfig config;
	uv_timer_t	retry;
	bool		canceled;		/* nothing is wanted until the next acquire */
	ServerSession *sessions;	/* sessions_max of them */
	dlist_head	unused;
	dlist_head	wanting;		/* requests that have not begun */
} ServerPool;

static void
server_begin(ServerPool *sp)
{
	PoolStats  *stats = &sp->pool.stats;

	while (stats->wanted > 0 && stats->opening < sp->config.handshakes &&
		   !dlist_is_empty(&sp->unused) && !uv_is_active((uv_handle_t *) &sp->retry))
	{
		ServerSession *ss = dlist_container(ServerSession, session.node,
											dlist_pop_head_node(&sp->unused));

		ss->request = dlist_container(Request, node, dlist_pop_head_node(&sp->wanting));
		stats->wanted--;
		stats->opening++;
		ss->request->asked_us = loop_now_us();	/* what it waited for till now was us */
		session_open(&ss->session, sp->config.loop, sp->config.login, sp->config.timeout_ms,
					 ss->session.events, sp);
	}
}

static void
server_retry(uv_timer_t *timer)
{
	server_begin(timer->data);
}

/* The login found the kernel's queue full: it is tried again in a moment. */
static void
server_stalled(ServerPool *sp, Request *request)
{
	sp->pool.stats.stalled++;
	uv_timer_start(&sp->retry, server_retry, BACKLOG_RETRY_MS, 0);
	if (sp->canceled)
		request->events->ended(request, ACQUIRE_CANCELED);
	else
	{
		sp->pool.stats.wanted++;
		dlist_push_head(&sp->wanting, &request->node);
	}
}

static void
server_connected(Session *session, const ConnectResult *result)
{
	ServerPool *sp = session->owner;
	Request    *request = ((ServerSession *) session)->request;
	PoolStats  *stats = &sp->pool.stats;

	stats->opening--;
	request->connect_us = result->took_us;
	switch (result->end)
	{
		case CONNECT_GRANTED:
			pool_grant(&sp->pool, request, session);
			break;
		case CONNECT_REFUSED:
			stats->refused++;
			pool_count_refusal(&sp->pool, result);
			request->events->ended(request, ACQUIRE_REFUSED);
			break;
		case CONNECT_BACKLOG:
			server_stalled(sp, request);
			break;
		case CONNECT_DENIED:
		case CONNECT_UNASKED:
		case CONNECT_TIMED_OUT:
		case CONNECT_BROKEN:
			stats->failed++;
			sp->pool.last_failure = *result;
			request->events->ended(request, ACQUIRE_FAILED);
			break;
	}
	server_begin(sp);
}

static void
server_lost(Session *session)
{
	ConnectResult failure;

	session_failure(session, &failure);
	session_close(session);
	pool_lose(((ServerSession *) session)->request, &failure);
}

static void
server_unused(Session *session)
{
	ServerPool *sp = session->owner;

	dlist_push_head(&sp->unused, &session->node);
	server_begin(sp);
}

static void
server_began(Session *session)
{
	Request    *request = ((ServerSession *) session)->request;

	if (request->events->began != NULL)
		request->events->began(request);
}

static const SessionEvents server_events = {
	.connected = server_connected,
	.lost = server_lost,
	.unused = server_unused,
	.began = server_began,
};

static void
server_acquire(Pool *pool, Request *request)
{
	ServerPool *sp = (ServerPool *) pool;

	sp->canceled = false;
	pool->stats.wanted++;
	dlist_push_tail(&sp->wanting, &request->node);
	server_begin(sp);
}

static void
server_release(Pool *pool, Request *request)
{
	if (request->session != NULL)
		session_close(request->session);
}

static void
server_cancel(Pool *pool)
{
	ServerPool *sp = (ServerPool *) pool;

	sp->canceled = true;
	pool_cancel_requests(pool, &sp->wanting);
}

static void
server_close(Pool *pool)
{
	ServerPool *sp = (ServerPool *) pool;

	pool_drain(pool);
	for (int i = 0; i < sp->config.sessions_max; i++)
		session_close(&sp->sessions[i].session);
	pool->stats.held = pool->stats.opening = 0;
	uv_timer_stop(&sp->retry);
}

static void
server_read_state(Pool *pool, PoolState *truth)
{
	Oid			role = ((ServerPool *) pool)->config.role;

	truth->capacity = census_capacity();
	truth->in_use = census_slots(role, &truth->ours);
	truth->reserved = MaxConnections - truth->capacity;
	truth->reserved_free = MaxConnections - Max(truth->capacity, truth->in_use);
	truth->full_cause = truth->reserved_free > 0 ? CAUSE_RESERVED_SLOTS : CAUSE_TOO_MANY_CLIENTS;
}

static void
role_read_state(Pool *pool, PoolState *truth)
{
	ServerPool *sp = (ServerPool *) pool;

	truth->capacity = sp->config.limit;
	(void) census_slots(sp->config.role, &truth->ours);
	truth->in_use = truth->ours;
	truth->full_cause = CAUSE_ROLE_LIMIT;
}

/* What has not been asked for yet, or cannot be, is what the run itself knows. */
static void
foreign_read_state(Pool *pool, PoolState *truth)
{
	ServerPool *sp = (ServerPool *) pool;
	const Probe *probe = sp->config.probe;

	if (probe == NULL)
	{
		truth->capacity = sp->config.capacity;
		truth->in_use = truth->ours = pool->stats.held;
		truth->full_cause = CAUSE_NONE;
		return;
	}
	truth->capacity = probe->figures.capacity;
	truth->in_use = probe->figures.in_use;
	truth->ours = probe->figures.ours;
	truth->full_cause = probe->figures.full_cause;
}

static bool
foreign_refresh(Pool *pool, uint64 since_us)
{
	Probe	   *probe = ((ServerPool *) pool)->config.probe;

	return probe == NULL || probe_refresh(probe, since_us);
}

#define FOREIGN_DRIVER(kind_) { \
	.kind = kind_, \
	.read_state = foreign_read_state, \
	.refresh = foreign_refresh, \
	.acquire = server_acquire, \
	.release = server_release, \
	.cancel = server_cancel, \
	.close = server_close, \
}

const PoolDriver pool_postgres = FOREIGN_DRIVER("postgres");
const PoolDriver pool_clients = FOREIGN_DRIVER("pgbouncer");

const PoolDriver pool_server = {
	.kind = "server",
	.exclusive = true,
	.read_state = server_read_state,
	.acquire = server_acquire,
	.release = server_release,
	.cancel = server_cancel,
	.close = server_close,
};

const PoolDriver pool_role = {
	.kind = "role",
	.exclusive = false,
	.read_state = role_read_state,
	.acquire = server_acquire,
	.release = server_release,
	.cancel = server_cancel,
	.close = server_close,
};

/*
 * Makes a pool of one of these drivers.  Opens no connection.  The pool and its
 * sessions live in the current memory context, which must outlive the loop.
 */
Pool *
pool_open_server(const ServerPoolConfig *config)
{
	ServerPool *sp = palloc0(sizeof(ServerPool));

	pool_init(&sp->pool, config->driver, config->sessions_max);
	sp->config = *config;
	sp->sessions = pool_make_sessions(config->sessions_max, sizeof(ServerSession), &server_events, sp, &sp->unused);
	dlist_init(&sp->wanting);
	uv_timer_init(&config->loop->uv, &sp->retry);
	sp->retry.data = sp;
	return &sp->pool;
}

/*
 * pool_server.c
 *		The pools that this server itself is: its slots (server), or what the
 *		CONNECTION LIMIT of one login role leaves of them (role).
 *
 * Neither queues: when it is full it refuses.  Both open real libpq sessions,
 * a bounded number of handshakes at a time: one at a time reaches half the
 * rate, and more than the listen queue holds would be the kernel's problem.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "miscadmin.h"

#include "observe/census.h"
#include "pool.h"

/* Before a connect that the kernel's queue had no room for is tried again. */
#define BACKLOG_RETRY_MS	5

/* Every session is in exactly one of the three lists, or closing. */
typedef struct ServerPool
{
	Pool		pool;
	ServerPoolConfig config;
	uv_timer_t	retry;
	bool		canceled;		/* nothing is wanted until the next acquire */
	dlist_head	unused;
	dlist_head	connecting;
	dlist_head	held;
} ServerPool;

static void
server_begin(ServerPool *sp)
{
	PoolStats  *stats = &sp->pool.stats;

	while (stats->wanted > 0 && stats->opening < sp->config.handshakes &&
		   !dlist_is_empty(&sp->unused) && !uv_is_active((uv_handle_t *) &sp->retry))
	{
		Session    *session = dlist_container(Session, node, dlist_pop_head_node(&sp->unused));

		stats->wanted--;
		stats->opening++;
		dlist_push_tail(&sp->connecting, &session->node);
		session_open(session, sp->config.loop, sp->config.login, sp->config.timeout_ms,
					 session->events, sp);
	}
}

static void
server_retry(uv_timer_t *timer)
{
	server_begin(timer->data);
}

static void
server_count_refusal(Pool *pool, const ConnectResult *result)
{
	PoolStats  *stats = &pool->stats;

	stats->refused++;
	stats->refused_by[result->cause]++;
	stats->slowest_refusal_us = Max(stats->slowest_refusal_us, result->took_us);
}

static void
server_connected(Session *session, const ConnectResult *result)
{
	ServerPool *sp = session->owner;
	PoolStats  *stats = &sp->pool.stats;

	dlist_delete(&session->node);
	stats->opening--;
	switch (result->end)
	{
		case CONNECT_GRANTED:
			stats->granted++;
			stats->held++;
			dlist_push_tail(&sp->held, &session->node);
			if (sp->pool.latency != NULL)
				histogram_add(sp->pool.latency, result->took_us);
			break;
		case CONNECT_REFUSED:
			server_count_refusal(&sp->pool, result);
			break;
		case CONNECT_BACKLOG:
			stats->stalled++;
			if (!sp->canceled)
				stats->wanted++;
			uv_timer_start(&sp->retry, server_retry, BACKLOG_RETRY_MS, 0);
			break;
		case CONNECT_DENIED:
		case CONNECT_TIMED_OUT:
		case CONNECT_BROKEN:
			stats->failed++;
			sp->pool.last_failure = *result;
			break;
	}
	server_begin(sp);
}

static void
server_lost(Session *session)
{
	ServerPool *sp = session->owner;

	dlist_delete(&session->node);
	sp->pool.stats.held--;
	sp->pool.stats.lost++;
	session_close(session);
}

static void
server_unused(Session *session)
{
	ServerPool *sp = session->owner;

	dlist_push_head(&sp->unused, &session->node);
	server_begin(sp);
}

static const SessionEvents server_events = {
	.connected = server_connected,
	.lost = server_lost,
	.unused = server_unused,
};

static void
server_acquire(Pool *pool, int n)
{
	((ServerPool *) pool)->canceled = false;
	pool->stats.wanted += n;
	server_begin((ServerPool *) pool);
}

static void
server_release(Pool *pool, int n)
{
	ServerPool *sp = (ServerPool *) pool;

	for (; n > 0 && !dlist_is_empty(&sp->held); n--)
	{
		pool->stats.held--;
		session_close(dlist_container(Session, node, dlist_pop_head_node(&sp->held)));
	}
}

static void
server_cancel(Pool *pool)
{
	((ServerPool *) pool)->canceled = true;
	pool->stats.wanted = 0;
}

static void
server_close(Pool *pool)
{
	ServerPool *sp = (ServerPool *) pool;

	server_cancel(pool);
	server_release(pool, pool->stats.held);
	while (!dlist_is_empty(&sp->connecting))
		session_close(dlist_container(Session, node, dlist_pop_head_node(&sp->connecting)));
	pool->stats.opening = 0;
	uv_timer_stop(&sp->retry);
}

static void
server_look(Pool *pool, PoolTruth *truth)
{
	Oid			role = ((ServerPool *) pool)->config.role;

	truth->capacity = census_capacity();
	truth->in_use = census_slots(role, &truth->ours);
	truth->reserved = MaxConnections - truth->capacity;
	truth->reserved_free = MaxConnections - Max(truth->capacity, truth->in_use);
	truth->full_cause = truth->reserved_free > 0 ? CAUSE_RESERVED_SLOTS : CAUSE_TOO_MANY_CLIENTS;
}

static void
role_look(Pool *pool, PoolTruth *truth)
{
	ServerPool *sp = (ServerPool *) pool;

	truth->capacity = sp->config.limit;
	(void) census_slots(sp->config.role, &truth->ours);
	truth->in_use = truth->ours;
	truth->reserved = truth->reserved_free = 0;
	truth->full_cause = CAUSE_ROLE_LIMIT;
}

const PoolDriver pool_server = {
	.kind = "server",
	.exclusive = true,
	.look = server_look,
	.acquire = server_acquire,
	.release = server_release,
	.cancel = server_cancel,
	.close = server_close,
};

const PoolDriver pool_role = {
	.kind = "role",
	.exclusive = false,
	.look = role_look,
	.acquire = server_acquire,
	.release = server_release,
	.cancel = server_cancel,
	.close = server_close,
};

/*
 * Makes a pool over this server.  Opens no connection.  The pool and its
 * sessions live in the current memory context, which must outlive the loop.
 */
Pool *
pool_open(const ServerPoolConfig *config)
{
	ServerPool *sp = palloc0(sizeof(ServerPool));
	Session    *sessions = palloc_extended(sizeof(Session) * config->sessions_max,
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	sp->pool.driver = config->driver;
	sp->config = *config;
	dlist_init(&sp->unused);
	dlist_init(&sp->connecting);
	dlist_init(&sp->held);
	for (int i = 0; i < config->sessions_max; i++)
	{
		sessions[i].events = &server_events;
		dlist_push_tail(&sp->unused, &sessions[i].node);
	}
	uv_timer_init(&config->loop->uv, &sp->retry);
	sp->retry.data = sp;
	return &sp->pool;
}

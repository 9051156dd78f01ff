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

#include "miscadmin.h"

#include "load/pool/pool.h"
#include "load/target/probe.h"
#include "observe/slots/census.h"

typedef struct ServerPool
{
	Pool		pool;			/* must be first */
	ServerPoolConfig config;
} ServerPool;

/* What a request waited for until its login begins was this process: that does not count. */
static void
server_serve(Pool *pool)
{
	while (!dlist_is_empty(&pool->queue) && pool_may_open(pool))
	{
		request_oldest(pool)->asked_us = loop_now_us();
		pool_session_open(pool);
	}
}

static void
server_opened(PoolSession *ps)
{
	pool_session_grant(ps, ps->request);
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

/*
 * Fills in what a probe says of the foreign server of the pool.  What has not been
 * asked for yet, or cannot be, is what the run itself knows.
 */
void
pool_foreign_state(const Pool *pool, const Probe *probe, int capacity, PoolState *truth)
{
	if (probe == NULL)
	{
		truth->capacity = capacity;
		truth->in_use = truth->ours = pool->stats.held;
		truth->full_cause = CAUSE_NONE;
		return;
	}
	truth->capacity = probe->figures.capacity;
	truth->in_use = probe->figures.in_use;
	truth->ours = probe->figures.ours;
	truth->full_cause = probe->figures.full_cause;
}

static void
foreign_read_state(Pool *pool, PoolState *truth)
{
	const ServerPoolConfig *config = &((ServerPool *) pool)->config;

	pool_foreign_state(pool, config->probe, config->capacity, truth);
}

static bool
foreign_refresh(Pool *pool, uint64 since_us)
{
	Probe	   *probe = ((ServerPool *) pool)->config.probe;

	return probe == NULL || probe_refresh(probe, since_us);
}

static uint64
foreign_answered_in_us(Pool *pool)
{
	const Probe *probe = ((ServerPool *) pool)->config.probe;

	return probe != NULL ? probe->round_us : 0;
}

#define FOREIGN_TYPE(kind_) { \
	.kind = kind_, \
	.read_state = foreign_read_state, \
	.refresh = foreign_refresh, \
	.answered_in_us = foreign_answered_in_us, \
	.serve = server_serve, \
	.opened = server_opened, \
	.release = pool_session_close, \
}

const PoolType pool_postgres = FOREIGN_TYPE("postgres");
const PoolType pool_clients = FOREIGN_TYPE("pgbouncer");

const PoolType pool_server = {
	.kind = "server",
	.exclusive = true,
	.read_state = server_read_state,
	.serve = server_serve,
	.opened = server_opened,
	.release = pool_session_close,
};

const PoolType pool_role = {
	.kind = "role",
	.read_state = role_read_state,
	.serve = server_serve,
	.opened = server_opened,
	.release = pool_session_close,
};

/*
 * Makes a pool of one of these drivers.  Opens no connection.  The pool and its
 * sessions live in the current memory context, which must outlive the loop.
 */
Pool *
pool_open_server(const ServerPoolConfig *config)
{
	ServerPool *sp = palloc0(sizeof(ServerPool));
	PoolLogins	logins = {config->loop, config->login, config->handshakes, config->timeout_ms};

	sp->config = *config;
	pool_init(&sp->pool, config->type, &logins, config->sessions_max);
	return &sp->pool;
}

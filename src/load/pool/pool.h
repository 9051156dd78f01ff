/*
 * pool.h
 *		Anything that hands out connections up to a capacity.
 *
 * A scenario asks a pool for connections and gives them back; it never asks
 * which kind of pool it has, only what it can do.  Requests are asynchronous:
 * each ends once, in the loop or at once.
 */
#pragma once

#include "load/pool/pool_sessions.h"

/* The pools of this server: see pool_server.c. */
typedef struct ServerPoolConfig
{
	const PoolType *type;		/* &pool_server or &pool_role */
	Loop	   *loop;
	const Login *login;
	Oid			role;			/* that the login leads to */
	int			limit;			/* of target role */
	int			handshakes;		/* logins in flight at once */
	int			timeout_ms;		/* for one login */
	int			sessions_max;	/* held and in flight, at the most */
	struct Probe *probe;		/* of a foreign server that can be asked, or NULL ... */
	int			capacity;		/* ... and what it is said to have then */
} ServerPoolConfig;

extern const PoolType pool_server;
extern const PoolType pool_role;
extern const PoolType pool_postgres;
extern const PoolType pool_clients; /* of PgBouncer */

extern void pool_foreign_state(const Pool *pool, const struct Probe *probe, int capacity, PoolState *truth);
extern Pool *pool_open_server(const ServerPoolConfig *config);

/* An application-style pool: see pool_embedded.c. */
typedef struct EmbeddedPoolConfig
{
	Loop	   *loop;
	AlarmClock *clock;
	const Login *login;
	int			handshakes;		/* logins in flight at once */
	int			pool_size;
	int			max_overflow;
	int			timeout_ms;		/* the longest wait */
	int			max_waiting;	/* 0 = no limit */
	IdleOrder	idle_order;
	int			max_lifetime_ms;	/* 0 = no limit */
	int			connect_timeout_ms;
	Fault		fault;
	int			slow_grant_ms;	/* of FAULT_SLOW_GRANT */
} EmbeddedPoolConfig;

extern Pool *pool_open_embedded(const EmbeddedPoolConfig *config);

/* The connections to the server that PgBouncer lets its clients share: see pool_pgbouncer.c. */
typedef struct BouncerPoolConfig
{
	Loop	   *loop;
	const Login *login;
	struct Probe *probe;
	int			handshakes;		/* logins in flight at once */
	int			timeout_ms;		/* for one login */
	int			clients_max;	/* of PgBouncer, at the most */
} BouncerPoolConfig;

extern bool pgbouncer_mode_is_known(const char *name);
extern void pool_bouncer_state(const Pool *pool, const struct Probe *probe, PoolState *truth);
extern Pool *pool_open_pgbouncer(const BouncerPoolConfig *config);

extern void pool_acquire_many(Pool *pool, int n);
extern void pool_release_many(Pool *pool, int n);
extern void pool_acquire(Pool *pool, Request *request);
extern void pool_release(Request *request);
extern void pool_cancel(Pool *pool);
extern void pool_drain(Pool *pool);
extern void pool_close(Pool *pool);

/* For drivers. */
extern void pool_init(Pool *pool, const PoolType *type, const PoolLogins *logins, int nsessions);

static inline void
pool_read_state(Pool *pool, PoolState *truth)
{
	memset(truth, 0, sizeof(*truth));
	truth->granted = pool->stats.granted;
	pool->type->read_state(pool, truth);
}

/* How long the answer about the pool took, the last time; 0 where nothing is asked. */
static inline uint64
pool_answered_in_us(Pool *pool)
{
	return pool->type->answered_in_us != NULL ? pool->type->answered_in_us(pool) : 0;
}

/* Whether the next read gives what is true at that moment or later; sees to it. */
static inline bool
pool_refresh(Pool *pool, uint64 since_us)
{
	return pool->type->refresh == NULL || pool->type->refresh(pool, since_us);
}

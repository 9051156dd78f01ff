/*
 * pool.h
 *		Anything that hands out connections up to a capacity.
 *
 * A scenario asks a pool for connections and gives them back; it never asks
 * which kind of pool it has, only what it can do.  Requests are asynchronous:
 * their ends show in the figures while the loop turns.
 */
#ifndef POOL_EXHAUST_POOL_H
#define POOL_EXHAUST_POOL_H

#include "cause.h"
#include "histogram.h"
#include "loop.h"
#include "session.h"

typedef struct Pool Pool;

/* What the server itself says of the pool at this moment. */
typedef struct PoolTruth
{
	int			capacity;
	int			in_use;			/* everybody's connections, not just ours */
	int			ours;			/* of those, the run's own */
	int			reserved;		/* slots that only privileged roles can get */
	int			reserved_free;
	Cause		full_cause;		/* how it refuses when it is full, as it stands */
} PoolTruth;

typedef struct PoolDriver
{
	const char *kind;
	bool		exclusive;		/* what it exhausts belongs to everybody */
	void		(*look) (Pool *pool, PoolTruth *truth);
	void		(*acquire) (Pool *pool, int n);
	void		(*release) (Pool *pool, int n);
	void		(*cancel) (Pool *pool);
	void		(*close) (Pool *pool);
} PoolDriver;

/* Counted from the moment the pool was opened. */
typedef struct PoolStats
{
	int			held;			/* granted and not given back */
	int			opening;		/* attempts in flight */
	int			wanted;			/* attempts not begun yet */
	uint64		granted;
	uint64		refused;
	uint64		refused_by[CAUSES];
	uint64		failed;			/* ended otherwise; last_failure says how */
	uint64		lost;			/* ended by the server while held */
	uint64		stalled;		/* the kernel's queue was full; tried again */
	uint64		slowest_refusal_us;
} PoolStats;

struct Pool
{
	const PoolDriver *driver;
	PoolStats	stats;
	Histogram  *latency;		/* of grants, the caller's to set and to clear */
	ConnectResult last_failure;
};

/* The pools of this server: see pool_server.c. */
typedef struct ServerPoolConfig
{
	const PoolDriver *driver;	/* &pool_server or &pool_role */
	Loop	   *loop;
	const Login *login;
	Oid			role;			/* that the login leads to */
	int			limit;			/* of target role */
	int			handshakes;		/* logins in flight at once */
	int			timeout_ms;		/* for one login */
	int			sessions_max;	/* held and in flight, at the most */
} ServerPoolConfig;

extern const PoolDriver pool_server;
extern const PoolDriver pool_role;

extern Pool *pool_open(const ServerPoolConfig *config);

/* Asks for n connections; each ends as granted, refused, failed or canceled. */
static inline void
pool_acquire(Pool *pool, int n)
{
	pool->driver->acquire(pool, n);
}

/* Gives n held connections back. */
static inline void
pool_release(Pool *pool, int n)
{
	pool->driver->release(pool, n);
}

/* Forgets the attempts that have not begun. */
static inline void
pool_cancel(Pool *pool)
{
	pool->driver->cancel(pool);
}

static inline void
pool_look(Pool *pool, PoolTruth *truth)
{
	pool->driver->look(pool, truth);
}

/* Lets go of everything at once, attempts in flight included. */
static inline void
pool_close(Pool *pool)
{
	pool->driver->close(pool);
}

#endif							/* POOL_EXHAUST_POOL_H */

/*
 * pool.h
 *		Anything that hands out connections up to a capacity.
 *
 * A scenario asks a pool for connections and gives them back; it never asks
 * which kind of pool it has, only what it can do.  Requests are asynchronous:
 * each ends once, in the loop or at once.
 */
#pragma once

#include "base/cause.h"
#include "base/histogram.h"
#include "base/option_words.h"
#include "event/alarm.h"
#include "event/loop.h"
#include "load/session.h"

typedef struct Pool Pool;
typedef struct Request Request;

/* The ends of an acquire. */
typedef enum AcquireEnd
{
	ACQUIRE_GRANTED,
	ACQUIRE_REFUSED,			/* at once, for lack of capacity */
	ACQUIRE_TIMED_OUT,
	ACQUIRE_FAILED,				/* otherwise: the pool's last_failure says how */
	ACQUIRE_CANCELED			/* by pool_cancel() or pool_drain() */
} AcquireEnd;

/* They run inside the loop, or inside pool_acquire(): they must not throw. */
typedef struct RequestEvents
{
	void		(*ended) (Request *request, AcquireEnd end);

	/* The connection of a granted request has died; still to be given back. */
	void		(*lost) (Request *request);

	/* What it runs says that it has begun: see START_NOTICE.  May be NULL. */
	void		(*began) (Request *request);
} RequestEvents;

/* One acquire, until its connection is given back. */
struct Request
{
	const RequestEvents *events;
	Pool	   *pool;
	Session    *session;		/* while granted: to use, not to close; NULL if lost */
	uint64		number;			/* in the order of asking */
	uint64		asked_us;
	uint64		connect_us;		/* of the wait, spent on opening a connection */
	bool		queued;			/* it found the pool full and had to wait for a release */
	const char *sql;			/* what it will run first, NULL: nothing; it may be under way when granted */
	dlist_node	node;			/* the pool's until the end, then the user's */
};

/* What the pool, or the server itself, says of the pool at this moment. */
typedef struct PoolState
{
	int			capacity;
	int			in_use;			/* connections of all clients, not just ours */
	int			ours;			/* of those, the run's own */
	int			idle;
	int			overflow;
	int			waiting;
	uint64		oldest_us;		/* when the oldest of those asked; 0 = none */
	uint64		granted;
	int			said_in_use;	/* by the word of a pooler, as of its last answer: connections ... */
	int			said_peak;		/* ... the most of them so far ... */
	int			said_waiting;	/* ... and clients that wait for one */
	int			reserved;		/* slots that only privileged roles can get */
	int			reserved_free;
	Cause		full_cause;		/* how it refuses when it is full, as it stands */
} PoolState;

/*
 * One kind of pool.  The methods are called by the inline functions below and by
 * pool.c alone, inside the loop or between its turns, and must not throw.
 *
 * Figures: a driver keeps stats.wanted and stats.opening, and counts refused,
 * timed_out, failed, replaced, expired, given_up and stalled.  granted, held,
 * peak_held, refused_by and lost are counted by pool_grant(),
 * pool_count_refusal() and pool_lose(); released by pool_release().
 */
typedef struct PoolDriver
{
	const char *kind;
	bool		exclusive;		/* what it exhausts belongs to all clients of the server */
	bool		queues;			/* a request that finds it full waits */

	/* Fills in what the kind knows; the rest is zero, "granted" is set.  Returns at once. */
	void		(*read_state) (Pool *pool, PoolState *truth);

	/*
	 * Returns whether read_state gives what is true at since_us or later, and
	 * asks the remote side if not: poll it.  NULL: read_state always does.  See
	 * probe.c.
	 */
	bool		(*refresh) (Pool *pool, uint64 since_us);

	/*
	 * Owes the request one call of events->ended, before it returns or later, and
	 * counts it as wanted meanwhile.  Not called once the pool drains.
	 */
	void		(*acquire) (Pool *pool, Request *request);

	/*
	 * Takes back the session of a granted request; NULL if it was lost, which the
	 * driver has settled by then.  held and released are counted already.  May
	 * grant to other requests before it returns.
	 */
	void		(*release) (Pool *pool, Request *request);

	/*
	 * Ends all requests that wait with ACQUIRE_CANCELED before it returns; logins
	 * in flight may go on to their end.
	 */
	void		(*cancel) (Pool *pool);

	/*
	 * Drains the pool and closes all sessions, those in use too; requests in
	 * flight get no event any more.  stats.held and stats.opening are 0 after
	 * that.  May be called twice.
	 */
	void		(*close) (Pool *pool);
} PoolDriver;

/* Counted from the moment the pool was opened. */
typedef struct PoolStats
{
	int			held;			/* granted and not given back */
	int			opening;		/* logins in flight */
	int			wanted;			/* requests that wait, for whatever */
	int			peak_held;
	uint64		granted;
	uint64		refused;
	uint64		refused_by[CAUSES]; /* logins that the server refused */
	uint64		timed_out;
	uint64		failed;			/* ended otherwise; last_failure says how */
	uint64		released;
	uint64		lost;			/* ended by the server while held */
	uint64		replaced;		/* not fit to be used again: closed on return */
	uint64		expired;		/* closed at the end of their lifetime */
	uint64		given_up;		/* logins that got no answer in time */
	uint64		stalled;		/* the kernel's queue was full; tried again */
	uint64		slowest_refusal_us;
} PoolStats;

struct Pool
{
	const PoolDriver *driver;
	PoolStats	stats;
	Histogram  *latency;		/* of grants, the caller's to set and to clear */
	Histogram	waits;			/* of all grants */
	ConnectResult last_failure;
	ConnectResult last_refusal;
	uint64		asked;			/* requests so far */
	bool		draining;		/* no request is granted any more */

	/* Connections that are held for their own sake: see pool_acquire_many(). */
	dlist_head	holds_unused;
	dlist_head	holds;			/* granted, the oldest first */
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
	struct Probe *probe;		/* of a foreign server that can be asked, or NULL ... */
	int			capacity;		/* ... and what it is said to have then */
} ServerPoolConfig;

extern const PoolDriver pool_server;
extern const PoolDriver pool_role;
extern const PoolDriver pool_postgres;
extern const PoolDriver pool_clients;	/* of PgBouncer */

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
extern Pool *pool_open_pgbouncer(const BouncerPoolConfig *config);

extern void pool_init(Pool *pool, const PoolDriver *driver, int holds_max);
extern void pool_acquire_many(Pool *pool, int n);
extern void pool_release_many(Pool *pool, int n);
extern void pool_acquire(Pool *pool, Request *request);
extern void pool_release(Request *request);
extern void pool_drain(Pool *pool);

/* For drivers. */
extern void pool_grant(Pool *pool, Request *request, Session *session);
extern void pool_count_refusal(Pool *pool, const ConnectResult *result);

/* Ends the requests that have not begun to be served, as canceled. */
static inline void
pool_cancel(Pool *pool)
{
	pool->driver->cancel(pool);
}

static inline void
pool_read_state(Pool *pool, PoolState *truth)
{
	memset(truth, 0, sizeof(*truth));
	truth->granted = pool->stats.granted;
	pool->driver->read_state(pool, truth);
}

/* Whether the next read gives what is true at that moment or later; sees to it. */
static inline bool
pool_refresh(Pool *pool, uint64 since_us)
{
	return pool->driver->refresh == NULL || pool->driver->refresh(pool, since_us);
}

/* Lets go of everything at once, attempts in flight included. */
static inline void
pool_close(Pool *pool)
{
	pool->driver->close(pool);
}

/*
 * pool_sessions.h
 *		A pool from the inside: its kind, its sessions, and the requests that wait
 *		for them.
 */
#pragma once

#include "base/cause.h"
#include "base/histogram.h"
#include "base/option_words.h"
#include "event/alarm.h"
#include "event/loop.h"
#include "load/session.h"

typedef struct Pool Pool;
typedef struct PoolSession PoolSession;
typedef struct Request Request;
struct Load;
struct Crowd;

/* What a crowd is to do: see crowd.h. */
typedef enum CrowdOrder
{
	CROWD_CONNECT,				/* n: those that are connected are cut off first */
	CROWD_STOP,
	CROWD_DISCONNECT			/* n clients */
} CrowdOrder;

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
	uint64		reached_us;		/* when what serves it can have learned of it: its login was through, if it had one */
	uint64		connect_us;		/* of the wait, spent on opening a connection */
	bool		queued;			/* it found the pool full and had to wait for a release */
	const char *sql;			/* what it will run first, NULL: nothing; it may be under way when granted */
	dlist_node	node;			/* of pool_sessions.c until the end, then the user's */
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
 * One kind of pool: what differs between them.  The methods are called by pool.c
 * and pool_sessions.c alone, inside the loop or between its turns, and must not
 * throw.  Those two keep all figures but stats.replaced and stats.expired, which
 * are the type's to count.
 */
typedef struct PoolType
{
	const char *kind;
	bool		exclusive;		/* what it exhausts belongs to all clients of the server */
	bool		queues;			/* a request that finds it full waits */

	/*
	 * A login is for the request that is next when it ends, not for one of its
	 * own; after one that failed the next one waits for OPEN_RETRY_MS.
	 */
	bool		shares_logins;

	/* Fills in what the kind knows; the rest is zero, "granted" is set.  Returns at once. */
	void		(*read_state) (Pool *pool, PoolState *truth);

	/*
	 * Returns whether read_state gives what is true at since_us or later, and
	 * asks the remote side if not: poll it.  NULL: read_state always does.  See
	 * probe.c.
	 */
	bool		(*refresh) (Pool *pool, uint64 since_us);

	/* How long the remote side took for its last answer, in microseconds.  NULL: none is asked. */
	uint64		(*answered_in_us) (Pool *pool);

	/*
	 * Returns whether a new request may enter the queue, and sets its "queued";
	 * false refuses it.  NULL: each may.
	 */
	bool		(*admit) (Pool *pool, Request *request);

	/*
	 * Does what can be done for the requests in the queue: grants, opens sessions.
	 * Called whenever more may have become possible.
	 */
	void		(*serve) (Pool *pool);

	/*
	 * A session has logged in, for ps->request if that is not NULL: grants it, goes
	 * on with it, or closes it.  "serve" follows.
	 */
	void		(*opened) (PoolSession *ps);

	/*
	 * Takes back the session of a granted request.  May grant to other requests
	 * before it returns.
	 */
	void		(*release) (PoolSession *ps);

	/*
	 * The requests in the queue are to be canceled: cancels those that sessions are
	 * at work for too.  NULL: those come to their end.
	 */
	void		(*cancel) (Pool *pool);

	/*
	 * Of a pool whose connections are held elsewhere: what stands for
	 * pool_acquire_many() and pool_release_many(), the requests of which it has not,
	 * for load_begin() and load_stop(), the clients of which are there, too, and for what a
	 * crowd is to do; and lets go of all.  NULL: it holds them itself.
	 */
	void		(*acquire_many) (Pool *pool, int n);
	void		(*release_many) (Pool *pool, int n);
	void		(*load_begin) (Pool *pool, struct Load *load);
	void		(*load_stop) (Pool *pool, struct Load *load);
	void		(*crowd) (Pool *pool, struct Crowd *crowd, CrowdOrder order, int n);
	void		(*close) (Pool *pool);
} PoolType;

/* Counted from the moment the pool was opened. */
typedef struct PoolStats
{
	int			held;			/* granted and not given back */
	int			opening;		/* logins in flight */
	int			wanted;			/* requests that have not ended, for whatever they wait */
	int			peak_held;
	uint64		granted;
	uint64		refused;
	uint64		refused_by[CAUSES]; /* logins that the server refused */
	uint64		timed_out;
	uint64		failed;			/* ended otherwise; last_failure says how */
	uint64		canceled;
	uint64		released;
	uint64		lost;			/* ended by the server while held */
	uint64		replaced;		/* not fit to be used again: closed on return */
	uint64		expired;		/* closed at the end of their lifetime */
	uint64		given_up;		/* logins that got no answer in time ... */
	uint64		broken;			/* ... or none at all */
	uint64		stalled;		/* the kernel's queue was full; tried again */
	uint64		slowest_refusal_us;
} PoolStats;

/* How the sessions of a pool log in. */
typedef struct PoolLogins
{
	Loop	   *loop;
	const Login *login;			/* of the next one: they go round a ring */
	int			handshakes;		/* at once, at the most */
	int			timeout_ms;		/* for one */
} PoolLogins;

struct Pool
{
	const PoolType *type;
	PoolStats	stats;
	Histogram  *latency;		/* of grants, the caller's to set and to clear */
	Histogram	waits;			/* of all grants */
	ConnectResult last_failure; /* why a request was not granted ... */
	ConnectResult last_loss;	/* ... and why one that was lost its connection */
	uint64		failed_us;		/* when that was, each; 0 = never */
	uint64		lost_us;
	uint64		timed_out_us;
	ConnectResult last_refusal;
	uint64		asked;			/* requests so far */
	bool		draining;		/* no request is granted any more */

	/* Of a pool whose connections are held elsewhere; 0 of others. */
	int			lag_ms;			/* so much later it begins what is asked for, or hears of it, at the most */
	uint64		clock_error_us; /* moments elsewhere are known with that error */

	/* Connections that are held for their own sake: see pool_acquire_many(). */
	dlist_head	holds_unused;
	dlist_head	holds;			/* granted, the oldest first */

	/* Of pool.c and pool_sessions.c.  Drivers read them, and set idle_order. */
	PoolLogins	logins;
	PoolSession *sessions;
	int			nsessions;
	int			nopen;			/* from the login to the close */
	int			nidle;
	dlist_head	unused;
	dlist_head	idle;			/* the next to be handed out first */
	IdleOrder	idle_order;
	dlist_head	queue;			/* requests, the oldest first ... */
	dlist_head	served;			/* ... and those that a session is at work for */
	uv_timer_t	pause;			/* while it runs no login begins */
	bool		canceled;		/* since the last request */
};

/* Only pool_session_change() sets it. */
typedef enum PoolSessionState
{
	POOL_SESSION_UNUSED,
	POOL_SESSION_OPENING,
	POOL_SESSION_IDLE,
	POOL_SESSION_BEGINNING,		/* has sent what its request begins with */
	POOL_SESSION_IN_USE,
	POOL_SESSION_RESETTING,		/* ends what its request has left open */
	POOL_SESSION_CLOSING		/* libuv has not let go of it yet */
} PoolSessionState;

struct PoolSession
{
	Session		session;		/* must be first; its node is in unused or idle */
	PoolSessionState state;
	Request    *request;		/* while opening or beginning for it, and in use */
	uint64		opened_us;
	uint64		connect_us;		/* what that took */
};

/* The requests: only these touch their nodes and stats.wanted. */
extern void request_wait(Request *request);
extern void request_serve(PoolSession *ps);
extern void request_leave(Request *request);
extern void request_end(Request *request, AcquireEnd end);

static inline Request *
request_oldest(Pool *pool)
{
	return dlist_head_element(Request, node, &pool->queue);
}

/* The sessions. */
extern void pool_sessions_init(Pool *pool, int nsessions);
extern bool pool_may_open(const Pool *pool);
extern bool pool_is_paused(const Pool *pool);
extern void pool_pause(Pool *pool, int ms);
extern void pool_session_change(PoolSession *ps, PoolSessionState state);
extern void pool_session_open(Pool *pool);
extern void pool_session_grant(PoolSession *ps, Request *request);
extern void pool_session_fail(PoolSession *ps, const ConnectResult *failure);
extern void pool_session_close(PoolSession *ps);

static inline Pool *
pool_of(const PoolSession *ps)
{
	return ps->session.owner;
}

/*
 * client.h
 *		Simulated users of a pool, and what became of them.
 *
 * A client asks for a connection, does an operation with it and gives it back.
 * In a closed loop a fixed number of clients begin again when they are done; in
 * an open loop each client comes at its time, whatever became of the others.
 */
#pragma once

#include "load/arrival.h"
#include "load/pool/pool.h"

#define BATCHES		20			/* of arrivals, to estimate how sure a mean is */

/* What became of some clients, by their own account; times from their intended start. */
typedef struct Tally
{
	uint64		asked;
	uint64		granted;
	uint64		refused;
	uint64		timed_out;
	uint64		unserved;		/* failed to get a connection for another reason */
	uint64		succeeded;		/* operations */
	uint64		failed;
	uint64		failing;		/* were to fail, on purpose */
	uint64		queued;			/* granted, after a wait for a release */
	uint64		shortest_timeout_us;	/* waits of those that timed out */
	uint64		longest_timeout_us;
	double		hold_us;		/* sums over those that were granted */
	double		wait_us;
	Histogram	wait;			/* of those that were granted */
	Histogram	connect;		/* part of it that was spent on opening */
	Histogram	query;			/* until the operation's SQL was answered */
	Histogram	response;		/* of all, until they were done, refused or timed out */
} Tally;

/* A request that was granted. */
typedef struct GrantedRequest
{
	uint64		number;			/* 0: there was none */
	uint64		reached_us;		/* when it reached the pool */
	uint64		granted_us;
} GrantedRequest;

/*
 * Were they granted in the order of asking?  Loads on one pool share it.  Of a pooler the
 * order of requests within slack_us of each other does not show; nor does that of grants
 * within it, as long as they are no more than there are connections: where these come free
 * together, the clients see the grants in any order.
 */
typedef struct GrantOrder
{
	uint64		slack_us;
	int			together;		/* grants that may have come together with the next one ... */
	GrantedRequest *lately;		/* ... and these, the latest, a ring of that size; NULL: there are none */
	int			nlately;
	int			oldest;			/* its place in the ring */
	GrantedRequest before;		/* of those that were granted before these, the latest request */
	uint64		overtaken;		/* granted after a request that came later */
	GrantedRequest *deferred;		/* grants that are to be judged later, together; NULL: each is at once */
	int			ndeferred;
	int			deferred_max;
} GrantOrder;

/* What an operation does with its connection, and when clients come. */
typedef struct LoadConfig
{
	Pool	   *pool;
	AlarmClock *clock;
	const char *sql;			/* NULL: asks nothing of the server */
	const char *failing_sql;	/* of the operations that are to fail */
	double		hold_ms;		/* then keeps the connection that long, on average */
	bool		exponential;	/* hold at random, or all for the same time */
	double		failing_percent;
	int64		seed;
	int			clients;		/* closed loop: how many */
	int			operations;		/* each of those, 0 = until stopped */
	const Arrival *arrival;		/* open loop; NULL = closed */
	bool		leak_on_error;	/* the fault */
	GrantOrder *order;			/* that it shares with others; NULL: it has its own */
} LoadConfig;

/*
 * A client works again when so many of its operations in a row have succeeded, and
 * none of another client's has failed: what breaks many connections breaks one after
 * the other, and between them operations succeed.
 */
#define RESTORED_AFTER	10

typedef struct Client Client;

typedef struct Load
{
	LoadConfig	config;
	Arrival		arrival;
	Alarm		next;			/* when the next client comes */
	uint64		next_us;		/* its intended start, after the begin */
	uint64		begun_us;
	bool		coming;			/* more are to come */
	bool		stopped;
	int			busy;			/* clients that have not finished */
	int			asking;			/* of those, waiting for a connection */
	int			holding;		/* having one */
	int			peak_holding;	/* the most of them so far; of those of several drivers the sum */
	uint64		changes;		/* of that number ... */
	uint64		changes_us;		/* ... and the sum of their moments */
	int			leaked;			/* connections that will not be released */
	int			ended;			/* operations done, and requests refused or timed out */
	int			clients;		/* that there are */
	uint64		over_limit;		/* arrived beyond the most that there may be */
	uint64		counted_us;		/* its figures are of that moment, on average of its drivers; 0 = of now */
	uint64		last_us;		/* response of the latest operation that succeeded */
	uint64		broken_us;		/* when an operation last failed, or was not granted */
	int			restored;		/* clients that have succeeded RESTORED_AFTER times since then */
	dlist_head	free;			/* clients with nothing to do */
	MemoryContext context;
	pg_prng_state holds;
	pg_prng_state failures;
	Tally		calm;
	Tally		burst;			/* of those that came in a burst */
	GrantOrder	order;			/* its own */
	double		batch_wait_us[BATCHES];
	uint64		batch_granted[BATCHES];
} Load;

extern Load *load_create(const LoadConfig *config);
extern void load_begin(Load *load);
extern void load_stop(Load *load);
extern Tally *load_tally(const Load *load);
extern double load_wait_error_us(const Load *load);

/* No operation is under way, and no more will begin. */
static inline bool
load_is_over(const Load *load)
{
	return load->busy == 0 && !load->coming;
}

/* Returns the moment that its figures are of. */
static inline uint64
load_counted_us(const Load *load)
{
	return load->counted_us != 0 ? load->counted_us : loop_now_us();
}

extern void order_reserve(GrantOrder *order, int more);
extern void order_defer(GrantOrder *order, GrantedRequest granted);
extern void order_judge(GrantOrder *order);
extern void tally_merge(Tally *into, const Tally *from);

/* Requests that ended without a connection. */
static inline uint64
tally_not_granted(const Tally *tally)
{
	return tally->refused + tally->timed_out + tally->unserved;
}

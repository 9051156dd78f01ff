/*
 * request.h
 *		What a run was asked to do, checked and complete: the contract between
 *		the caller's backend, which fills it in, and the runner.
 */
#ifndef POOL_EXHAUST_SHMEM_REQUEST_H
#define POOL_EXHAUST_SHMEM_REQUEST_H

#include "datatype/timestamp.h"

/* Every session of every run says so; it is how others can tell them. */
#define RUN_APPLICATION_NAME "pool_exhaust"

/* Descriptors that a runner needs beside those of its sessions. */
#define SPARE_DESCRIPTORS	64

typedef enum TargetKind
{
	TARGET_SERVER,
	TARGET_ROLE,
	TARGET_POOL,				/* an application-style pool of the run's own */
	TARGET_EACH,				/* of several scenarios, each one's own default */

	/* Foreign servers, by their option "kind". */
	TARGET_POSTGRES,			/* an endpoint that speaks the protocol */
	TARGET_PGBOUNCER,
	TARGET_HTTP
} TargetKind;

#define TARGET_KINDS	(TARGET_HTTP + 1)

/* Is it a foreign server, which is aimed at by its name? */
static inline bool
target_is_foreign(TargetKind target)
{
	return target >= TARGET_POSTGRES;
}

typedef enum Profile
{
	PROFILE_QUICK,
	PROFILE_STANDARD,
	PROFILE_SOAK
} Profile;

#define PROFILES (PROFILE_SOAK + 1)

/* What to do about client sessions of other roles while the server is filled. */
typedef enum Bystanders
{
	BYSTANDERS_REFUSE,
	BYSTANDERS_ABORT,
	BYSTANDERS_IGNORE
} Bystanders;

typedef enum OnFail
{
	ON_FAIL_REPORT,
	ON_FAIL_ERROR
} OnFail;

/* Deliberate faults, each of which must break the verdict. */
typedef enum Fault
{
	FAULT_NONE,
	FAULT_KEEP_SLOT,			/* one slot is kept back from the fill */
	FAULT_MISCOUNT,				/* one refusal is counted twice */
	FAULT_NO_LIMIT,				/* the pool is never full: nothing is refused */
	FAULT_LEAVE_SESSION,		/* one session is left behind by the release */
	FAULT_MISS_HEALTH,			/* the monitor's warning is missed */
	FAULT_LIFO,					/* the newest waiter is served first */
	FAULT_IGNORE_TIMEOUT,		/* waiters wait for ever */
	FAULT_EARLY_TIMEOUT,		/* waiters are sent away at half their time */
	FAULT_LOST_WAKEUP,			/* one waiter is forgotten */
	FAULT_LEAK_ON_ERROR,		/* a failed operation keeps its connection */
	FAULT_SHARED_BETWEEN_SERVICES,	/* the second service uses the first one's pool */
	FAULT_SLOW_GRANT,			/* grants are held back beyond the limit of latency */
	FAULT_MISS_LEAK,			/* one leak is none, so nobody can find it */
	FAULT_ACCUSE,				/* an innocent session looks like a leak */
	FAULT_NEVER_HEAL,			/* the healer is not asked to */
	FAULT_HTTP_500,				/* the reference API: who is sent away gets 500 */
	FAULT_HTTP_NO_RETRY_AFTER,	/* and is not told when to come back */
	FAULT_HTTP_HANG,			/* one of them never gets an answer */
	FAULT_HTTP_HTML_ERROR,		/* errors are pages for people */
	FAULT_LIVENESS_DOWN,		/* it is not live while its pool is full */
	FAULT_HTTP_RETRY_TOO_SOON	/* who comes back after Retry-After is sent away again */
} Fault;

/* May a hold take slots that are reserved? */
typedef enum Reserved
{
	RESERVED_KEEP,
	RESERVED_TAKE
} Reserved;

/* Which of its idle connections a pool hands out first. */
typedef enum IdleOrder
{
	IDLE_LIFO,
	IDLE_FIFO
} IdleOrder;

/* When the clients of an open-loop load come; see load/arrival.c. */
typedef enum ArrivalKind
{
	ARRIVAL_POISSON,
	ARRIVAL_CONSTANT,
	ARRIVAL_RAMP,
	ARRIVAL_BURST
} ArrivalKind;

/* A list of levels in percent, 0 to 1000. */
#define LEVELS_MAX	16

typedef struct Levels
{
	int64		n;
	int64		percent[LEVELS_MAX];
} Levels;

#define WORKLOAD_LEN	1024

/*
 * Every option of every scenario; options.c has the table that describes them,
 * and each scenario the list of those that are its own, with their defaults.
 */
typedef struct Options
{
	int64		profile;
	int64		seed;
	int64		timeout_ms;
	int64		on_fail;
	int64		bystanders;
	int64		handshakes;		/* logins in flight at once */
	int64		chaos;			/* disturbances a second, 0 = none */
	int64		fault;
	char		database[NAMEDATALEN];	/* to connect to; empty = the caller's */

	/* Of the pools of this server. */
	int64		attempts;			/* attempts beyond capacity */
	int64		role_limit;		/* CONNECTION LIMIT of target role */

	/* Of the application-style pool. */
	int64		pool_size;
	int64		max_overflow;	/* connections beyond pool_size */
	int64		pool_timeout_ms;	/* the longest wait for a connection */
	int64		max_waiting;	/* requests in the queue; 0 = no limit */
	int64		idle_order;
	int64		max_lifetime_ms;	/* of a connection; 0 = no limit */
	int64		connect_timeout_ms;
	char		second[NAMEDATALEN];	/* foreign server of the second service */

	/* Of the load. */
	char		workload[WORKLOAD_LEN]; /* SQL; empty = the scenario's own */
	int64		work_ms;		/* an operation takes that long */
	int64		long_ms;		/* and a long one that long */
	int64		long_operations;
	int64		quick_operations;
	int64		clients;
	int64		rate;			/* arrivals a second */
	int64		arrivals;		/* ArrivalKind */
	int64		failing_percent;	/* operations that fail on purpose */
	Levels		levels;			/* in percent */
	int64		load_percent;	/* of the capacity that was measured */
	int64		burst_percent;

	/* Of leaks. */
	int64		operations;
	int64		leak_threshold_ms;	/* of the run's sessions */
	int64		vanish_ms;		/* statements whose clients vanish take that long */
	int64		outage_ms;		/* so long it waits for somebody to restart the target */

	/* Of connections held by hand. */
	int64		hold_ms;		/* until they are let go of; 0 = max_hold_time */
	int64		spacing_ms;		/* between two that leak one after the other */
	int64		reserved;		/* a Reserved */

	/* How long its parts take. */
	int64		baseline_ms;
	int64		sustained_ms;
	int64		burst_ms;		/* one burst ... */
	int64		burst_every_ms; /* ... from the begin of one to that of the next */
	int64		exhaust_ms;
	int64		level_ms;
	int64		churn_ms;

	/* What it must keep to. */
	int64		tolerance_ms;
	int64		tolerance_percent;
	int64		success_percent;	/* at least */
	int64		burst_error_percent;	/* at most */
	int64		response_limit_ms;
	int64		recovery_limit_ms;
	int64		latency_limit_ms;
	int64		latency_limit_percent;	/* up to this level */
	int64		keep_percent;	/* of its throughput, at least */
} Options;

/*
 * One of the options that a scenario has beside those that all have, with its
 * default in each profile; a list of levels has the same one in all.
 */
typedef struct OptionDefault
{
	const char *name;
	int64		defaults[PROFILES];
	Levels		levels;
	bool		inherits;		/* PgBouncer knows better: see aim.c */
} OptionDefault;

/* How a connection is held; hold_kinds[] says what becomes of it. */
typedef enum HoldState
{
	HOLD_IDLE,
	HOLD_ACTIVE,
	HOLD_IDLE_IN_TRANSACTION,
	HOLD_ABORTED,				/* idle in a transaction that has failed */
	HOLD_LOCK_WAIT,
	HOLD_AUTHENTICATING,		/* the login stalls */
	HOLD_ABANDONED,				/* used once, while newer sessions are used on */
	HOLD_DEAD_CLIENT,			/* busy, and nobody waits for the answer */
	HOLD_GROWTH					/* one after the other, each used once */
} HoldState;

#define HOLD_STATES (HOLD_GROWTH + 1)

/* Connections held by hand: a run that tells no story and proves nothing. */
typedef struct HoldRequest
{
	int			connections;	/* 0: it is a scenario's run, and no hold */
	HoldState	state;
	bool		leaked;			/* outlives the session that asked for it */
	int64		hold_ms;		/* it ends so long after all are held */

	/* That session: its process, where its PGPROC is, and when it began. */
	int			owner_pid;
	int			owner_number;
	TimestampTz owner_started;
} HoldRequest;

typedef struct RunRequest
{
	HoldRequest	hold;
	char		scenario[NAMEDATALEN];
	TargetKind	target;
	char		target_name[NAMEDATALEN];	/* as it was asked for, and reports call it */
	Oid			server;			/* a foreign one ... */
	Oid			user;			/* ... to be used with the mapping of that user, who asked */
	Oid			owner;			/* and the session user then */
	uint64		parent;			/* ticket of the run that this one is a part of; 0 = none */
	int			needed;			/* connections to this server that it is going to hold */
	int			held_max;		/* connections it may hold; 0 = no limit */
	Options		options;
} RunRequest;

static inline bool
request_is_hold(const RunRequest *plan)
{
	return plan->hold.connections > 0;
}

#endif							/* POOL_EXHAUST_SHMEM_REQUEST_H */

/*
 * shared.h
 *		The one shared-memory struct of pool_exhaust.
 *
 * Which process writes what, and what guards it:
 *
 * refusals, refused, runs[].refused
 *		Written by emit_log_hook in processes that are about to be refused,
 *		many of which never get a PGPROC and so may not take an LWLock.
 *		Atomics only.  Read by any process at any time.
 *
 * opened, services
 *		Written by each session at the end of its login, and the peaks by the monitor.
 *		Atomics only.
 *
 * blind
 *		Written by the monitor.  Atomics.
 *
 * monitor, attention, sweep_wanted, sweeping
 *		How those processes and runners wake the monitor, and whether a sweeper of
 *		its is at work.  Atomics.
 *
 * drives
 *		Counted by the sessions that drive, for the monitor.  Atomic.
 *
 * observed
 *		What the monitor has seen.  It alone writes there, but for
 *		pool_exhaust_reset_stats() and pool_exhaust_heal(); "observe_lock" guards
 *		all of it, and leak_sessions as well.
 *
 * runs[]
 *		One entry for each run under way; the entry outlives the run until its
 *		caller has read the verdict, and then until another run claims it.
 *		"lock" guards every field that is not an atomic.  The caller's backend
 *		fills in the request between claim and launch; from then on only the
 *		runner writes, except for "stop", which any backend with the right may
 *		set.  "changed" is broadcast after each change that a waiter could be
 *		waiting for.  A hold is a run too, one that only holds.
 *
 * Pointers, descriptors and PGconns are local to a process and never stand
 * here.
 */
#pragma once

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "base/borrower.h"
#include "base/cause.h"
#include "base/health.h"
#include "base/leak/leak.h"
#include "base/releases.h"
#include "base/words.h"
#include "shmem/request.h"

#define RUNS_MAX			8	/* runs under way at once, holds included */
#define NAMES_MAX			256 /* services in each table of names */
#define RECENT_MINUTES		5	/* of logins and sessions by service */
#define POOLS_MAX			65	/* pools that the monitor remembers: the server, its walsenders, 63 limits */
#define HEALTH_CHANGES_MAX		64	/* changes of health that it remembers */
#define HEALS_MAX			256 /* acts of the healer that are remembered */
#define SERVICE_LEN			(2 * NAMEDATALEN)	/* role/application_name */
#define CLIENT_ADDR_LEN			48	/* an IPv6 address, or a network, as text */
#define RUN_LINES			32	/* progress lines kept for the caller */
#define RUN_LINE_LEN		160
#define RUN_REASON_LEN		1024
#define RUN_PARTIES_MAX	2		/* services of a run: a login role and a pool each */

/* Counted since the server started. */
typedef struct LedgerCounter
{
	pg_atomic_uint64 count;		/* never goes back */
	pg_atomic_uint64 reset;		/* what it was at the last reset */
} LedgerCounter;

/* One cause of refusal. */
typedef struct RefusalCounter
{
	LedgerCounter all;
	LedgerCounter of_runs;		/* those of the own roles of runs and holds, which are in both */
	pg_atomic_uint64 first_at;	/* TimestampTz, 0 = never */
	pg_atomic_uint64 last_at;
} RefusalCounter;

/* The types of processes that are refused: each may have its own level of the server log. */
#define REFUSED_PROCESS_LIST(ROW) \
	ROW(REFUSED_BACKEND, "backend", B_BACKEND) \
	ROW(REFUSED_WALSENDER, "walsender", B_WAL_SENDER)

typedef enum RefusedProcess
{
	REFUSED_PROCESS_LIST(LIST_MEMBER)
} RefusedProcess;

#define REFUSED_PROCESSES	LIST_COUNT(REFUSED_PROCESS_LIST)

/* When the ledger did not see refusals of such a process; TimestampTz, 0 = never. */
typedef struct LedgerBlind
{
	pg_atomic_uint64 since;		/* 0 = it sees them now */
	pg_atomic_uint64 until;		/* the last end of that */
} LedgerBlind;

/*
 * A bounded table of names, with a counter each: of the refused services, and
 * of the services that have logged in.  The process that moves "state" from empty
 * to writing fills in the names and then publishes them by moving it to ready;
 * they stay as they are until pool_exhaust_reset_stats() empties the table.
 */
typedef enum NameState
{
	NAME_EMPTY,
	NAME_WRITING,
	NAME_READY
} NameState;

typedef struct Names
{
	Cause		cause;			/* CAUSE_NONE in the table of services */
	char		usename[NAMEDATALEN];
	char		datname[NAMEDATALEN];	/* empty in the table of services */
	char		application_name[NAMEDATALEN];
	char		client_addr[CLIENT_ADDR_LEN];	/* likewise; and of clients over unix sockets */
} Names;

StaticAssertDecl(sizeof(Names) == sizeof(Cause) + 3 * NAMEDATALEN + CLIENT_ADDR_LEN, "names must have no padding: they are compared byte by byte");

typedef struct NameEntry
{
	pg_atomic_uint32 state;
	pg_atomic_uint32 peak;		/* most sessions in use at a sample */
	pg_atomic_uint64 count;
	pg_atomic_uint64 last_at;	/* TimestampTz */
	Names		names;
} NameEntry;

typedef struct NameTable
{
	NameEntry	entries[NAMES_MAX];
	pg_atomic_uint64 others;	/* counted for names that found no place */
	pg_atomic_uint64 others_at;
} NameTable;

/*
 * How much of the client's address stands beside the names of a refused service.
 * Each has a table of its own, so that many addresses leave no names without a place:
 * what finds none in the first table goes to the next.
 */
typedef enum AddressScope
{
	ADDRESS_HOST,
	ADDRESS_NETWORK,			/* the /24 of an IPv4 address, the /64 of an IPv6 one */
	ADDRESS_ANY,				/* its family, and unix sockets */
	ADDRESS_SCOPES
} AddressScope;

/* The pools that this server itself is. */
#define POOL_KIND_LIST(ROW) \
	ROW(POOL_SERVER, "server")			/* its slots */ \
	ROW(POOL_ROLE, "role")				/* a role with a CONNECTION LIMIT */ \
	ROW(POOL_DATABASE, "database")	/* a database with one */ \
	ROW(POOL_WALSENDERS, "walsenders")	/* max_wal_senders: replication has slots of its own */

typedef enum PoolKind
{
	POOL_KIND_LIST(LIST_MEMBER)
} PoolKind;

#define POOL_KINDS LIST_COUNT(POOL_KIND_LIST)

extern const char *const pool_kind_names[];

/* One of them, and how many connections it can hand out. */
typedef struct PoolLimit
{
	Oid			oid;			/* of the role or database; InvalidOid: the server or its walsenders */
	PoolKind	kind;
	char		name[NAMEDATALEN];
	int			capacity;
} PoolLimit;

/* What the monitor remembers of a pool. */
typedef struct MonitoredPool
{
	PoolLimit	limit;			/* these two as of the last sample */
	int			in_use;
	HealthJudge judge;
	int			peak_in_use;
	TimestampTz peak_at;
	uint64		refused;		/* taken into account so far */
	Releases	releases;
} MonitoredPool;

/* A change of health, as the monitor saw it. */
typedef struct HealthChange
{
	TimestampTz at;
	uint64		at_us;			/* the same moment, monotonic */
	PoolLimit	limit;
	Health		was;
	Health		health;
	int			in_use;
	uint64		refused;		/* since the sample before */
} HealthChange;

/* One row of view pool_exhaust_timeline. */
typedef struct TimelineRow
{
	TimestampTz at;
	int			in_use;
	int			active;
	int			idle;
	int			idle_in_transaction;
	int			capacity;
	Health		health;
	uint64		refused;		/* these two since the sample before */
	uint64		opened;
} TimelineRow;

/* What a service of the table had when a minute began. */
typedef struct ServiceMark
{
	uint64		opened;			/* logins granted so far */
	int			in_use;
} ServiceMark;

/* The last minutes of services, each by its place in that table. */
typedef struct RecentServices
{
	TimestampTz counted_since;	/* what was counted before that is no part of it */
	int			next;			/* where the next mark goes */
	uint64		at_us[RECENT_MINUTES];	/* monotonic; 0: there is none */
	ServiceMark marks[RECENT_MINUTES][NAMES_MAX];
} RecentServices;

/* What the healer did. */
typedef struct HealLogEntry
{
	TimestampTz at;
	int			pid;
	Oid			role;
	LeakRule	rule;
	int			strategy;		/* see strategy.h */
	int64		run_id;			/* the run whose session it was; 0: of none */
	char		service[SERVICE_LEN];
	char		evidence[LEAK_EVIDENCE_LEN];
} HealLogEntry;

typedef struct Observed
{
	uint64		sampled_us;		/* the last observation, monotonic; 0 = none yet */
	TimestampTz sampled_at;
	TimestampTz counted_since;	/* server start, or the last reset */

	int			npools;			/* the first is the server */
	MonitoredPool pools[POOLS_MAX];

	uint64		health_changes_written;
	HealthChange health_changes[HEALTH_CHANGES_MAX];

	uint64		timeline_refused;	/* counters as of the last row */
	uint64		timeline_opened;
	uint64		timeline_first; /* rows before this one were reset */
	uint64		timeline_written;

	TimestampTz recorded_at;	/* the last second that was recorded; 0 = none; counters as of then */
	uint64		recorded_refused[LEDGER_CAUSES];
	uint64		recorded_opened;

	RecentServices recent;

	uint64		leaks_observed_us;	/* the last observation of the leak rules, monotonic; 0 = none */
	uint64		leaks_number;	/* of that observation */
	LeakCounts	leaks[LEAK_RULES];
	LeakLimits	leak_limits;
	uint64		heals_written;
	HealLogEntry heals[HEALS_MAX];
} Observed;

typedef enum RunState
{
	RUN_FREE,					/* may be claimed */
	RUN_STARTING,				/* claimed; the runner is on its way; a hold is not
								 * complete yet */
	RUN_RUNNING,				/* has a run_id, holds roles and connections; a hold
								 * has all of them */
	RUN_ENDED					/* holds nothing; verdict and reason stand */
} RunState;

#define VERDICT_LIST(ROW) \
	ROW(VERDICT_NONE, NULL)				/* not judged yet */ \
	ROW(VERDICT_PASS, "pass") \
	ROW(VERDICT_FAIL, "fail") \
	ROW(VERDICT_INVALID, "invalid") \
	ROW(VERDICT_ABORTED, "aborted")

typedef enum Verdict
{
	VERDICT_LIST(LIST_MEMBER)
} Verdict;

extern const char *const verdict_names[];

/* Why a run is asked to stop, and what its reason then says. */
#define STOP_LIST(ROW) \
	ROW(STOP_NONE, NULL) \
	ROW(STOP_REQUESTED, "stopped by pool_exhaust_stop()") \
	ROW(STOP_CALLER_CANCELED, "canceled by the caller") \
	ROW(STOP_CALLER_LOST, "the session that asked for the run has ended") \
	ROW(STOP_RELEASED, "released by pool_exhaust_release()") \
	ROW(STOP_OWNER_ENDED, "the session that asked for the hold has ended") \
	ROW(STOP_PARENT_ENDED, "the run that it is a part of has ended")

typedef enum StopCause
{
	STOP_LIST(LIST_MEMBER)
} StopCause;

extern const char *const stop_reasons[];

/* An application-style pool of a run, as its runner last published it. */
typedef struct RunPool
{
	char		name[NAMEDATALEN];
	char		kind[16];
	int			capacity;
	int			in_use;
	int			idle;
	int			overflow;
	int			waiting;
	Health		health;
	uint64		granted;
	uint64		refused;
	uint64		timed_out;
	double		wait_p50_ms;
	double		wait_p95_ms;
	double		wait_p99_ms;
	double		wait_max_ms;
	uint64		oldest_us;		/* the oldest waiter asked then, monotonic; 0 = none waits */
	int			peak_in_use;
	TimestampTz peak_at;
	int			retry_after_s;	/* 0 = no release was seen */
} RunPool;

typedef struct RunEntry
{
	/* Set by the caller under the lock, then fixed until the next claim. */
	RunState	state;
	uint64		ticket;			/* differs for each use of the entry */
	bool		claimed;		/* the caller has not read the end of it yet */
	Oid			database;
	Oid			owner;			/* session user of the caller */
	RunRequest	request;
	int64		hold_id;		/* 0: no hold */

	/* Written by the runner under the lock. */
	int			runner_pid;
	int64		run_id;			/* 0 until the run is recorded */
	Oid			roles[RUN_PARTIES_MAX]; /* its own login roles, or InvalidOid */
	TimestampTz started_at;
	TimestampTz held_at;		/* a hold: when all were held, 0 = not yet */
	TimestampTz expires_at;		/* a hold: when it ends by itself */
	int			closed;			/* a hold: connections that its end has closed */
	char		phase[NAMEDATALEN];
	Verdict		verdict;
	bool		too_busy;		/* invalid or aborted, on a machine that was too busy */
	int			error_code;		/* SQLSTATE of a run that could not start */
	char		reason[RUN_REASON_LEN];
	uint64		lines_written;
	char		lines[RUN_LINES][RUN_LINE_LEN];

	/* Atomics. */
	pg_atomic_uint32 stop;		/* a StopCause; set once */
	pg_atomic_uint32 done;		/* of the phase */
	pg_atomic_uint32 total;
	pg_atomic_uint32 connections;
	pg_atomic_uint64 refused[LEDGER_CAUSES];	/* the ledger's count of the run's own roles */
	pg_atomic_uint32 leak_threshold_ms; /* of its sessions; 0 = they are not judged */
	pg_atomic_uint32 heal;		/* 1 + how certain a leak must be for the healer to end them; 0 = it may not */

	/*
	 * Written by the process that the entry belongs to, its runner as a rule, without a
	 * lock: odd while that is under way.  See run_pool.c.
	 */
	pg_atomic_uint32 pools_version;
	int			npools;
	RunPool		pools[RUN_PARTIES_MAX];

	ConditionVariable changed;
} RunEntry;

typedef struct PoolExhaustShared
{
	LWLock	   *lock;
	TimestampTz born_at;		/* immutable: server start, or restart after a crash */
	uint64		tickets;		/* protected by lock */
	int64		holds;			/* ids given to holds so far, protected by lock */
	RefusalCounter refusals[LEDGER_CAUSES];
	NameTable	refused[ADDRESS_SCOPES];
	LedgerBlind blind[REFUSED_PROCESSES];
	LedgerCounter opened;		/* logins that succeeded */
	LedgerCounter run_opened;	/* those of runs and holds, which are in both */
	NameTable	services;
	pg_atomic_uint32 monitor;	/* its PGPROC number + 1, 0 = there is none */
	pg_atomic_uint32 attention; /* the monitor wants to know of the next refusal */
	pg_atomic_uint32 sweep_wanted;	/* a run may have left something behind */
	pg_atomic_uint32 drives;	/* sessions that drive load for another server */
	pg_atomic_uint32 sweeping;	/* 1: the monitor has a worker clean up */
	RunEntry	runs[RUNS_MAX];
	LWLock	   *observe_lock;
	Observed	observed;
	TimelineRow timeline[FLEXIBLE_ARRAY_MEMBER];	/* timeline_length, a ring */
} PoolExhaustShared;

/*
 * The login role of a run is named so, with the number of its place behind it,
 * and that of its second service with the number of places more.
 */
#define ROLE_PREFIX "pool_exhaust_"
#define ROLE_NUMBER(place, service) ((service) * RUNS_MAX + (place) + 1)
#define ROLE_ENTRY(number) (((number) - 1) % RUNS_MAX)

/* leak_threshold_ms of runs whose sessions are judged by the setting. */
#define LEAK_THRESHOLD_SETTING	PG_UINT32_MAX

/* What the session in a slot says of its borrower: its own to write, without a lock. */
typedef struct SlotBorrower
{
	pg_atomic_uint32 version;	/* odd while it is written */
	int			pid;			/* with started: which session says it; 0: none does */
	TimestampTz started;
	Borrower	borrower;
} SlotBorrower;

/* What is remembered of the session in a slot; MaxConnections of them. */
typedef struct SessionSlot
{
	pg_atomic_uint32 listener;	/* pid of the session that LISTENs; its own to write */
	pg_atomic_uint32 login;		/* pid of a login under way; these two are the monitor's to write */
	pg_atomic_uint64 login_us;	/* when it saw that first, monotonic */
	pg_atomic_uint32 drives;	/* pid of the session that drives load for another server; its own to write ... */
	pg_atomic_uint64 drives_until_us;	/* ... as this, by when it says so again; the monitor puts it off */
	SlotBorrower borrower;
} SessionSlot;

extern SessionSlot *session_slots;

/*
 * The monitor's own, guarded by observe_lock: MaxConnections of the former, and
 * leak_groups_max() of the latter.
 */
extern LeakSession *leak_sessions;
extern LeakGroup *leak_groups;

/* Rows of the timeline; a setting, fixed when the server starts. */
extern int	timeline_length;

/* NULL unless the library was preloaded. */
extern PoolExhaustShared *shared;

extern void shared_init(void);
extern void shared_require(void);
extern void shared_warn(void);

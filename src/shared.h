/*
 * shared.h
 *		The one shared-memory struct of pool_exhaust.
 *
 * Who writes what, and what guards it:
 *
 * refusals, refused, runs[].refused
 *		Written by emit_log_hook in processes that are about to be refused,
 *		many of which never get a PGPROC and so may not take an LWLock.
 *		Atomics only.  Read by anybody at any time.
 *
 * runs[]
 *		One place for each run under way; the place outlives the run until its
 *		caller has read the verdict, and then until another run claims it.
 *		"lock" guards every field that is not an atomic.  The caller's backend
 *		fills in the plan between claim and launch; from then on only the
 *		runner writes, except for stop_by, which anybody with the right may
 *		set.  "changed" is broadcast after each change that a waiter could be
 *		waiting for.
 *
 * Pointers, descriptors and PGconns are local to a process and never stand
 * here.
 */
#ifndef POOL_EXHAUST_SHARED_H
#define POOL_EXHAUST_SHARED_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "cause.h"
#include "plan.h"

#define RUNS_MAX			8	/* runs under way at once */
#define REFUSED_MAX			256 /* rows of the table of refused services */
#define RUN_LINES			32	/* progress lines kept for the caller */
#define RUN_LINE_LEN		160
#define RUN_REASON_LEN		1024

/* One cause of refusal, counted since the server started. */
typedef struct RefusalCounter
{
	pg_atomic_uint64 refusals;
	pg_atomic_uint64 first_at;	/* TimestampTz, 0 = never */
	pg_atomic_uint64 last_at;
} RefusalCounter;

/*
 * One refused service.  The process that moves "state" from empty to writing
 * fills in the names and then publishes them by moving it to ready; the names
 * never change after that.
 */
typedef enum RefusedState
{
	REFUSED_EMPTY,
	REFUSED_WRITING,
	REFUSED_READY
} RefusedState;

typedef struct RefusedService
{
	pg_atomic_uint32 state;
	Cause		cause;
	char		usename[NAMEDATALEN];
	char		datname[NAMEDATALEN];
	char		application_name[NAMEDATALEN];
	pg_atomic_uint64 refusals;
	pg_atomic_uint64 last_at;
} RefusedService;

typedef enum RunState
{
	RUN_FREE,					/* nobody's */
	RUN_STARTING,				/* claimed; the runner is on its way */
	RUN_RUNNING,				/* has a run_id, holds roles and connections */
	RUN_ENDED					/* holds nothing; verdict and reason stand */
} RunState;

typedef enum Verdict
{
	VERDICT_NONE,				/* not judged yet */
	VERDICT_PASS,
	VERDICT_FAIL,
	VERDICT_INVALID,
	VERDICT_ABORTED
} Verdict;

extern const char *const verdict_names[];

/* Why a run is asked to stop. */
typedef enum StopCause
{
	STOP_NONE,
	STOP_REQUESTED,				/* pool_exhaust_stop() */
	STOP_CALLER_CANCELED,
	STOP_CALLER_LOST
} StopCause;

typedef struct RunSlot
{
	/* Set by the caller under the lock, then fixed until the next claim. */
	RunState	state;
	uint64		ticket;			/* tells this use of the place from others */
	bool		claimed;		/* the caller has not read the end of it yet */
	Oid			database;
	Oid			owner;			/* session user who asked */
	RunPlan		plan;

	/* Written by the runner under the lock. */
	int			runner_pid;
	int64		run_id;			/* 0 until the run is recorded */
	Oid			role;			/* the run's own login role, or InvalidOid */
	TimestampTz started_at;
	char		phase[NAMEDATALEN];
	Verdict		verdict;
	int			error_code;		/* SQLSTATE of a run that could not start */
	char		reason[RUN_REASON_LEN];
	uint64		lines_written;
	char		lines[RUN_LINES][RUN_LINE_LEN];

	/* Atomics. */
	pg_atomic_uint32 stop;		/* a StopCause; set once */
	pg_atomic_uint32 done;		/* of the phase */
	pg_atomic_uint32 total;
	pg_atomic_uint32 connections;
	pg_atomic_uint64 refused[CAUSES];	/* the ledger's count of the run's own role */

	ConditionVariable changed;
} RunSlot;

typedef struct PoolExhaustShared
{
	LWLock	   *lock;
	TimestampTz born_at;		/* immutable: server start, or restart after a crash */
	uint64		tickets;		/* protected by lock */
	RefusalCounter refusals[CAUSES];
	RefusedService refused[REFUSED_MAX];
	pg_atomic_uint64 refused_others;	/* found no place in the table */
	pg_atomic_uint64 refused_others_at;
	RunSlot		runs[RUNS_MAX];
} PoolExhaustShared;

/* The login role of a run is named so, with the number of its place behind it. */
#define ROLE_PREFIX "pool_exhaust_"

/* NULL unless the library was preloaded. */
extern PoolExhaustShared *shared;

extern void shared_init(void);
extern void shared_require(void);

#endif							/* POOL_EXHAUST_SHARED_H */

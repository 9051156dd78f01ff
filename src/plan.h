/*
 * plan.h
 *		What a run was asked to do, checked and complete: the contract between
 *		the caller's backend, which fills it in, and the runner.
 */
#ifndef POOL_EXHAUST_PLAN_H
#define POOL_EXHAUST_PLAN_H

/* Every session of every run says so; it is how others can tell them. */
#define RUN_APPLICATION_NAME "pool_exhaust"

/* Descriptors that a runner needs beside those of its sessions. */
#define SPARE_DESCRIPTORS	64

typedef enum TargetKind
{
	TARGET_SERVER,
	TARGET_ROLE
} TargetKind;

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
	FAULT_MISS_HEALTH			/* the monitor's warning is missed */
} Fault;

/* Every option of every scenario; options.c has the table that describes it. */
typedef struct Options
{
	int64		profile;
	int64		seed;
	int64		timeout_ms;
	int64		on_fail;
	int64		bystanders;
	int64		knocks;			/* attempts beyond capacity */
	int64		role_limit;		/* CONNECTION LIMIT of target role */
	int64		handshakes;		/* logins in flight at once */
	int64		fault;
	char		database[NAMEDATALEN];	/* to connect to; empty = the caller's */
} Options;

typedef struct RunPlan
{
	char		scenario[NAMEDATALEN];
	TargetKind	target;
	int			held_max;		/* connections it may hold; 0 = no limit */
	Options		options;
} RunPlan;

#endif							/* POOL_EXHAUST_PLAN_H */

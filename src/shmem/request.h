/*
 * request.h
 *		What a run was asked to do, checked and complete: the contract between
 *		the caller's backend, which fills it in, and the runner.
 */
#pragma once

#include "datatype/timestamp.h"

#include "shmem/options.h"
#include "shmem/target_kind.h"

/* The application_name of every session of every run, by which others know them. */
#define RUN_APPLICATION_NAME "pool_exhaust"

/* Connections held by hand: a run without a scenario, which proves nothing. */
typedef struct HoldRequest
{
	int			connections;	/* 0: it is a scenario's run, and no hold */
	int			kind;			/* which of hold_kinds[] */
	bool		leaked;			/* outlives the session that asked for it */
	int64		hold_ms;		/* it ends so long after all are held */

	/* That session: its process, where its PGPROC is, and when it began. */
	int			owner_pid;
	int			owner_number;
	TimestampTz owner_started;
} HoldRequest;

/* What a run is to the one that has started it. */
typedef enum RunPart
{
	PART_NONE,					/* it was not started by one */
	PART_SCENARIO,				/* one scenario of all; others may run beside it */
	PART_BASE,					/* it is repeated to be compared with ... */
	PART_CANDIDATE				/* ... such a one; no other runs beside it */
} RunPart;

typedef struct RunRequest
{
	HoldRequest hold;
	char		scenario[NAMEDATALEN];
	TargetKind	target;
	char		target_name[NAMEDATALEN];	/* as it was asked for, and reports call it */
	Oid			server;			/* a foreign one ... */
	Oid			user;			/* ... to be used with the mapping of that user, the caller */
	Oid			owner;			/* and the session user then */
	uint64		parent;			/* ticket of the run that this one is a part of; 0 = none */
	RunPart		part;
	int			needed;			/* connections to this server that it is going to hold */
	int			held_max;		/* connections it may hold; 0 = no limit */
	int64		time_max_ms;	/* the longest that it may take, whatever timeout_ms says */
	AskedOptions asked;
} RunRequest;

static inline bool
request_is_hold(const RunRequest *plan)
{
	return plan->hold.connections > 0;
}

/* It only starts others, which hold connections. */
static inline bool
request_repeats(const RunRequest *plan)
{
	return plan->asked.values.repeat > 0;
}

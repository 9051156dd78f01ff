/*
 * pools.h
 *		The pools that this server is: what is in use now, and what the
 *		monitor remembers of them.
 */
#pragma once

#include "observe/slots/limit.h"

/* A pool at this moment, as the views and the pages show it. */
typedef struct PoolRow
{
	PoolLimit	limit;
	int			in_use;
	Health		health;
	int64		granted;		/* -1: not known */
	int64		refused;
	bool		remembered;		/* the monitor watches it; or else no peak */
	int			peak_in_use;
	TimestampTz peak_at;
	int			retry_after_s;	/* 0: no release was seen */
} PoolRow;

extern PoolRow *pools_read(const List *limits);
extern Cause server_cause(const PoolRow *server);

/*
 * What the monitor holds of one pool: its health, and how many transitions it
 * has written by then.  False if it does not watch that pool, or not now.
 */
extern bool pool_watched(PoolKind kind, Oid oid, Health *health, uint64 *transitions);

/* What the monitor saw of one pool. */
typedef struct PoolSnapshot
{
	int			in_use;
	int			logins;			/* not through yet, and not in use */
	int			released;		/* sessions that ended since the snapshot before */
} PoolSnapshot;

extern void pools_watch(const List *limits);
extern void pools_judge(const PoolSnapshot *snapshots, int n, bool regular);

/*
 * snapshot.h
 *		What the monitor reads in one observation.
 */
#pragma once

#include "observe/monitor/pools.h"
#include "observe/monitor/service.h"

typedef struct MonitorSnapshot
{
	int			by_state[SLOT_STATES];	/* slots in use */
	int			borrowed;		/* of them, those whose sessions are borrowed ... */
	TimestampTz borrowed_since; /* ... and since when the longest is; 0: none is */
	List	   *limits;			/* the pools that are watched, the server first */
	PoolSnapshot pools[POOLS_MAX];	/* in the order of limits */
	HTAB	   *services;
	Slot	   *slots;			/* MaxConnections of them; pid 0: free */
	bool		readable;		/* whether catalogs could be read without waiting */
} MonitorSnapshot;

extern void snapshot_init(void);
extern const MonitorSnapshot *snapshot_take(void);
extern const MonitorSnapshot *snapshot_last(void);
extern bool snapshot_catalogs_readable(void);

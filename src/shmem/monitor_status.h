/*
 * monitor_status.h
 *		Whether the monitor is alive, how often it observes, how to wake it.
 */
#pragma once

#include "shmem/shared.h"

extern bool monitor_on;
extern int	sample_interval;	/* ms */

extern void monitor_status_init(void);

/* Why a run that watches leaks is invalid then. */
#define MONITOR_IS_AWAY "the monitor does not run, so no leak can be found: see pool_exhaust.monitor"

/* Wakes the monitor after a refusal.  Safe in any process. */
extern void monitor_wake(void);

/* Wakes it, whatever it waits for. */
extern void monitor_rouse(void);

/* What the monitor has seen is not older than it should be.  Needs the lock. */
extern bool monitor_is_fresh(void);

/*
 * Returns by how much more than the time between two samples the last one is past, in
 * microseconds; 0 if the monitor takes none.  Needs no lock.
 */
extern uint64 monitor_late_us(void);

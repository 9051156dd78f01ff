/*
 * monitor.h
 *		The monitor: one worker that watches, remembers and answers.
 */
#ifndef POOL_EXHAUST_MONITOR_H
#define POOL_EXHAUST_MONITOR_H

#include "shared.h"

extern int	sample_interval;	/* ms */

extern void monitor_gucs_init(void);
extern void monitor_init(void (*on_start) (void));

/* Tells the monitor that somebody was refused.  Safe in any process. */
extern void monitor_wake(void);

/* What the monitor has seen is not older than it should be. */
extern bool monitor_is_fresh(const Observed *observed);

/* For the answers of the monitor: looks, unless it has only just looked. */
extern void monitor_refresh(void);

extern PGDLLEXPORT void monitor_main(Datum arg);

#endif							/* POOL_EXHAUST_MONITOR_H */

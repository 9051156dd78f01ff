/*
 * health_log.h
 *		Changes of health: remembered, logged, sent by NOTIFY.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_HEALTH_LOG_H
#define POOL_EXHAUST_OBSERVE_MONITOR_HEALTH_LOG_H

#include "shmem/shared.h"

extern void transition_init(void);

/* The monitor's part. */
extern void transition_add(const PoolHistory *history, Health was, uint64 refused,
						   TimestampTz at, uint64 at_us);
extern void transitions_skip(void);
extern void transitions_tell(void);

/* For those who watch one pool: where to begin, and what came since. */
extern uint64 transitions_now(void);
extern bool transition_next(PoolKind kind, Oid oid, uint64 *seen, Transition *transition);

extern PGDLLEXPORT void messenger_main(Datum arg);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_HEALTH_LOG_H */

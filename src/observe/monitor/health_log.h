/*
 * health_log.h
 *		Changes of health: remembered, logged, sent by NOTIFY.
 */
#pragma once

#include "shmem/shared.h"

extern void health_log_init(void);

/* The monitor's part. */
extern void health_log_add(const MonitoredPool *pool, Health was, uint64 refused,
						   TimestampTz at, uint64 at_us);
extern void health_log_skip(void);
extern void health_log_write(void);

/* For a run that watches one pool: what came since. */
extern bool health_log_next(PoolKind kind, Oid oid, uint64 *seen, HealthChange *transition);

extern PGDLLEXPORT void messenger_main(Datum arg);

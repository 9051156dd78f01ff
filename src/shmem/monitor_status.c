/*
 * monitor_status.c
 *		Whether the monitor is alive, how often it observes, how to wake it.
 */
#include "postgres.h"

#include "storage/proc.h"
#include "utils/guc.h"

#include "event/loop.h"
#include "shmem/monitor_status.h"

/* Samples may be late by this much on a machine that is busy. */
#define LATE_US		(2 * INT64CONST(1000000))

bool		monitor_on = true;
int			sample_interval = 200;

void
monitor_status_init(void)
{
	DefineCustomBoolVariable("pool_exhaust.monitor",
							 "Lets the monitor take samples and answer over HTTP.",
							 NULL,
							 &monitor_on, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pool_exhaust.sample_interval",
							"Time between two samples of the monitor.",
							NULL,
							&sample_interval, 200, 10, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

void
monitor_rouse(void)
{
	uint32		number = pg_atomic_read_u32(&shared->monitor);

	if (number != 0)
		SetLatch(&ProcGlobal->allProcs[number - 1].procLatch);
}

/* Takes no lock, and does nothing unless the monitor has asked for it. */
void
monitor_wake(void)
{
	uint32		number = pg_atomic_read_u32(&shared->monitor);

	if (number != 0 && pg_atomic_exchange_u32(&shared->attention, 0) != 0)
		SetLatch(&ProcGlobal->allProcs[number - 1].procLatch);
}

bool
monitor_is_fresh(void)
{
	uint64		sampled_us = shared->observed.sampled_us;

	return monitor_on && sampled_us != 0 &&
		loop_now_us() < sampled_us + 2 * sample_interval * INT64CONST(1000) + LATE_US;
}

uint64
monitor_late_us(void)
{
	uint64		observed_us = ((volatile PoolExhaustShared *) shared)->observed.leaks_observed_us;
	uint64		due_us = observed_us + sample_interval * UINT64CONST(1000);
	uint64		now_us = loop_now_us();

	return monitor_on && observed_us != 0 && now_us > due_us ? now_us - due_us : 0;
}

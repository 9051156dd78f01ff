/*
 * reset_stats.c
 *		pool_exhaust_reset_stats(): everything counted and remembered starts anew.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "event/loop.h"
#include "observe/monitor/leak_detector.h"
#include "observe/slots/ledger.h"

PG_FUNCTION_INFO_V1(pool_exhaust_reset_stats);

/* What a pool hands out now is the peak so far. */
static void
pool_reset(MonitoredPool *pool, TimestampTz now, uint64 now_us)
{
	pool->peak_in_use = pool->in_use;
	pool->peak_at = now;
	pool->refused = 0;
	releases_begin(&pool->releases, now_us);
}

/* Health stands: that is what the pools are, and not what was counted. */
Datum
pool_exhaust_reset_stats(PG_FUNCTION_ARGS)
{
	Observed   *observed;
	TimestampTz now = GetCurrentTimestamp();
	uint64		now_us = loop_now_us();

	shared_require();
	observed = &shared->observed;
	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	ledger_reset();
	for (int i = 0; i < observed->npools; i++)
		pool_reset(&observed->pools[i], now, now_us);
	leak_detector_reset();
	observed->counted_since = now;
	observed->timeline_refused = ledger_slot_refusals_ever();
	observed->timeline_opened = ledger_logins_ever();
	observed->timeline_first = observed->timeline_written;
	LWLockRelease(shared->observe_lock);
	PG_RETURN_VOID();
}

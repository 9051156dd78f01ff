/*
 * leaks.c
 *		The rows of the views of leaks: the suspected sessions, and the rules.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/rows.h"
#include "event/loop.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/service.h"
#include "shmem/monitor_status.h"

PG_FUNCTION_INFO_V1(pool_exhaust_leaks_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_leak_rules_rows);

static void
suspect_put(RowBuilder *row, const Slot *slot, const LeakSession *session, uint64 now_us)
{
	char		service[SERVICE_LEN];
	char		evidence[LEAK_EVIDENCE_LEN];

	service_name(slot->role, slot->application_name, service);
	leak_evidence(session, now_us, evidence);
	row_int(row, slot->pid);
	row_text(row, service);
	row_text(row, leak_rules[session->rule]->name);
	row_bigint(row, (int64) leak_held_us(session, now_us) / 1000);
	row_text(row, evidence);
	row_time(row, (uint64) slot->started);
	row_end(row);
}

/* The rows of view pool_exhaust_leaks. */
Datum
pool_exhaust_leaks_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	uint64		now_us = loop_now_us();
	bool		fresh;
	LeakSession *sessions = leak_sessions_copy(&fresh);

	for (int i = 0; i < MaxConnections && fresh; i++)
	{
		Slot		slot;

		if (suspect_read(i, &sessions[i], &slot) && service_may_see(slot.role))
			suspect_put(&row, &slot, &sessions[i], now_us);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_leak_rules. */
Datum
pool_exhaust_leak_rules_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	LeakCounts	counts[LEAK_RULES];
	LeakLimits	limits;
	bool		fresh;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	memcpy(counts, shared->observed.leaks, sizeof(counts));
	limits = shared->observed.leak_limits;
	fresh = monitor_is_fresh();
	LWLockRelease(shared->observe_lock);
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
	{
		char		note[LEAK_NOTE_LEN];

		row_text(&row, leak_rules[rule]->name);
		row_int(&row, leak_threshold);
		row_int_if(&row, fresh, (int32) leak_suspects(&counts[rule]));
		row_bigint(&row, (int64) counts[rule].found);
		row_bigint(&row, (int64) counts[rule].unleaked);
		row_bigint(&row, (int64) counts[rule].ended);
		row_bigint(&row, (int64) counts[rule].healed);
		row_text(&row, leak_rule_note(rule, &limits, leak_threshold, note) ? note : NULL);
		row_end(&row);
	}
	return (Datum) 0;
}

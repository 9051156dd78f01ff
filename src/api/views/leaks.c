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
	char		evidence[EVIDENCE_LEN];

	service_name(slot->role, slot->application_name, service);
	suspect_evidence(session, now_us, evidence);
	row_int(row, slot->pid);
	row_text(row, service);
	row_text(row, leak_rule_names[session->rule]);
	row_bigint(row, (int64) leak_held_us(session, now_us) / 1000);
	row_text(row, evidence);
	row_time(row, (uint64) slot->started);
	row_end(row);
}

/* The rows of view pool_exhaust_leaks. */
Datum
pool_exhaust_leaks_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row;
	LeakSession *sessions;
	uint64		now_us = loop_now_us();
	bool		fresh;

	shared_require();
	rows_begin(&row, fcinfo);
	sessions = leak_sessions_copy(&fresh);
	for (int i = 0; i < MaxConnections && fresh; i++)
	{
		Slot		slot;

		if (sessions[i].rule == LEAK_NONE || !slot_read(i, &slot) || slot.pid != sessions[i].pid ||
			slot.started != sessions[i].started || !service_may_see(slot.role))
			continue;
		suspect_put(&row, &slot, &sessions[i], now_us);
	}
	pfree(sessions);
	return (Datum) 0;
}

/* A setting that ends such sessions before the rule is broken, or NULL. */
static const char *
limit_note(const char *setting, int limit_ms)
{
	if (limit_ms == 0 || limit_ms > leak_threshold)
		return NULL;
	return psprintf("can never fire: %s (%d ms) comes before pool_exhaust.leak_threshold (%d ms)",
					setting, limit_ms, leak_threshold);
}

static const char *
rule_note(LeakRule rule, const LeakLimits *limits)
{
	const char *note = NULL;

	switch (rule)
	{
		case LEAK_NONE:
			break;
		case LEAK_IDLE_IN_TRANSACTION:
			note = limit_note("idle_in_transaction_session_timeout", limits->idle_in_transaction_ms);
			if (note == NULL)
				note = limit_note("transaction_timeout", limits->transaction_ms);
			break;
		case LEAK_ABANDONED:
		case LEAK_GROWTH:
			note = limit_note("idle_session_timeout", limits->idle_ms);
			if (note == NULL && rule == LEAK_ABANDONED && limits->short_services > 0)
				note = psprintf("cannot fire for %d services: their pools close sessions after %.1f s at the most, and pool_exhaust.leak_threshold is %.1f s",
								limits->short_services, limits->short_life_ms / 1000.0, leak_threshold / 1000.0);
			break;
		case LEAK_DEAD_CLIENT:
			note = limit_note("client_connection_check_interval", limits->client_check_ms);
			if (note == NULL && limits->client_errno != 0)
				note = psprintf("could not read the sockets of some sessions: %s", strerror(limits->client_errno));
			break;
	}
	return note;
}

/* The rows of view pool_exhaust_leak_rules. */
Datum
pool_exhaust_leak_rules_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row;
	LeakCounts	counts[LEAK_RULES];
	LeakLimits	limits;
	int			suspects[LEAK_RULES] = {0};
	bool		fresh;

	shared_require();
	rows_begin(&row, fcinfo);
	LWLockAcquire(shared->observe_lock, LW_SHARED);
	memcpy(counts, shared->observed.leaks, sizeof(counts));
	limits = shared->observed.leak_limits;
	for (int i = 0; i < MaxConnections; i++)
		suspects[suspect_counted(&leak_sessions[i])]++;
	fresh = monitor_is_fresh();
	LWLockRelease(shared->observe_lock);
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
	{
		row_text(&row, leak_rule_names[rule]);
		row_int(&row, leak_threshold);
		row_int_if(&row, fresh, suspects[rule]);
		row_bigint(&row, (int64) counts[rule].found);
		row_bigint(&row, (int64) counts[rule].unleaked);
		row_bigint(&row, (int64) counts[rule].ended);
		row_bigint(&row, (int64) counts[rule].healed);
		row_text(&row, rule_note(rule, &limits));
		row_end(&row);
	}
	return (Datum) 0;
}

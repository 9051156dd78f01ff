/*
 * leaks.c
 *		The rows of the views of leaks: the suspected sessions, and the rules.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/rows.h"
#include "base/text.h"
#include "event/loop.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/service.h"
#include "observe/slots/borrower.h"
#include "shmem/monitor_status.h"

PG_FUNCTION_INFO_V1(pool_exhaust_leaks_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_leak_rules_rows);

/* In version 1.0 the function has so many columns, and no row of a session that is not suspected. */
#define COLUMNS_1_0		6

/* "suspect" is NULL if the session is none. */
static void
session_put(RowBuilder *row, const Slot *slot, const LeakSession *suspect, const Borrower *borrower)
{
	bool		borrowed = borrower->name[0] != '\0';
	uint64		now_us = loop_now_us();
	char		service[SERVICE_LEN];
	char		evidence[LEAK_EVIDENCE_LEN];

	if (suspect != NULL)
	{
		service_name(slot->role, slot->application_name, service);
		suspect_evidence(suspect, now_us, evidence);
	}
	row_int(row, slot->pid);
	row_text(row, suspect != NULL ? service : NULL);
	row_text(row, suspect != NULL ? leak_rules[suspect->rule]->name : NULL);
	row_bigint_if(row, suspect != NULL, suspect != NULL ? (int64) leak_held_us(suspect, now_us) / 1000 : 0);
	row_text(row, suspect != NULL ? evidence : NULL);
	row_time(row, (uint64) slot->started);
	row_text(row, borrowed ? text_printable(borrower->name) : NULL);
	row_time(row, borrowed ? (uint64) borrower->since : 0);
	row_text(row, suspect != NULL ? leak_certainty_names[leak_certainty(suspect)] : NULL);
	row_end(row);
}

/* The rows of view pool_exhaust_leaks, and, for pool_exhaust_backends, of other sessions that are borrowed. */
Datum
pool_exhaust_leaks_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	bool		suspects_only = row.rsinfo->setDesc->natts == COLUMNS_1_0;
	bool		fresh;
	LeakSession *sessions = leak_sessions_copy(&fresh);

	for (int i = 0; i < MaxConnections; i++)
	{
		Slot		slot;
		Borrower	borrower;
		bool		suspected = fresh && suspect_read(i, &sessions[i], &slot);

		if (!suspected && (suspects_only || !slot_read(i, &slot)))
			continue;
		borrower_read(i, &slot, &borrower);
		if ((suspected || borrower.name[0] != '\0') && service_may_see(slot.role))
			session_put(&row, &slot, suspected ? &sessions[i] : NULL, &borrower);
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

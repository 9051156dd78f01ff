/*
 * heal.c
 *		pool_exhaust_heal(): ends the sessions that are suspected of a leak, at once.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "api/rows.h"
#include "base/compat.h"
#include "event/loop.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/service.h"
#include "observe/monitor/strategy.h"

PG_FUNCTION_INFO_V1(pool_exhaust_heal);

/* May the caller end sessions of this role?  The rule of pg_terminate_backend(). */
static bool
may_end(Oid role)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_SIGNAL_BACKEND) || has_privs_of_role(GetUserId(), role);
}

/* Ends one suspected session unless it is spared, and puts the row that says so. */
static void
heal_suspect(RowBuilder *row, int number, const LeakSession *session, bool dry_run)
{
	uint64		now_us = loop_now_us();
	int			strategy = strategy_of(session);
	const char *action;
	char		service[SERVICE_LEN];
	char		evidence[LEAK_EVIDENCE_LEN];
	Slot		slot;

	if (!suspect_read(number, session, &slot) || !service_may_see(slot.role))
		return;
	service_name(slot.role, slot.application_name, service);
	suspect_evidence(session, now_us, evidence);
	action = strategy_why_spared(session, &slot, heal_certainty);
	if (action == NULL && !may_end(slot.role))
		action = "spared: permission denied";
	if (action == NULL && dry_run)
		action = "would terminate";
	if (action == NULL)
		action = heal_act(number, service, strategy, now_us) ? "terminated"
			: "spared: it has changed since, or is ending already";
	row_int(row, slot.pid);
	row_text(row, service);
	row_text(row, leak_rules[session->rule]->name);
	row_text(row, strategy != NO_STRATEGY ? strategies[strategy].name : NULL);
	row_text(row, action);
	row_text(row, evidence);
	row_text(row, leak_certainty_names[leak_certainty(session)]);
	row_end(row);
}

/* SQL: a row for each suspect, in the order of the strategies; those without one last. */
Datum
pool_exhaust_heal(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	bool		fresh;
	LeakSession *sessions = leak_sessions_copy(&fresh);

	/* What was true a while ago is no reason to act. */
	if (!fresh)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the monitor does not run, so it is not known which sessions have leaked"),
				 errhint("Set pool_exhaust.monitor to on and reload; see the server log if it is.")));
	for (const int *order = strategies_in_order;; order++)
	{
		for (int i = 0; i < MaxConnections; i++)
			if (strategy_of(&sessions[i]) == *order)
				heal_suspect(&row, i, &sessions[i], PG_GETARG_BOOL(0));
		if (*order == NO_STRATEGY)
			return (Datum) 0;
	}
}

/*
 * blindness.c
 *		What keeps pool_exhaust from seeing: then a cause may be there that is not named.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "advise/explain/explain.h"
#include "shmem/monitor_status.h"

/* ---------- The monitor ---------- */

static bool
judge_monitor_away(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (facts->watched)
		return false;
	finding->confidence = CONFIDENCE_CANNOT_TELL;
	finding->sentence = "the monitor does not watch, so that leaks, surges and stalled logins are not seen";
	finding->evidence = monitor_on ? "Its last observation is older than it may be." : "pool_exhaust.monitor is off.";
	finding->next_step = monitor_on
		? "SELECT pid, backend_start, wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'pool_exhaust monitor';"
		: "ALTER SYSTEM RESET pool_exhaust.monitor; SELECT pg_reload_conf();";
	return true;
}

const Explanation explanation_monitor_away = {
	.name = "monitor away",
	.recorded = true,
	.judge = judge_monitor_away,
};

/* ---------- The ledger ---------- */

static bool
judge_ledger_blind(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (facts->blind_since == 0)
		return false;
	finding->confidence = CONFIDENCE_CANNOT_TELL;
	finding->sentence = psprintf("refusals are not counted for %s%s, since log_min_messages keeps FATAL out of the server log",
								 facts->recorded != NULL ? "at least " : "", seconds_text(Max(facts->now - facts->blind_since, 0) / 1000));
	finding->evidence = "The ledger sees what goes to the log.";
	finding->next_step = "ALTER SYSTEM SET log_min_messages = 'warning'; SELECT pg_reload_conf();";
	return true;
}

const Explanation explanation_ledger_blind = {
	.name = "ledger blind",
	.recorded = true,
	.judge = judge_ledger_blind,
};

/* ---------- What sessions do ---------- */

static bool
judge_activities_off(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	int			n = 0;

	foreach_session(facts, session)
		n += session->slot.state == SLOT_UNKNOWN;
	if (n == 0)
		return false;
	finding->confidence = CONFIDENCE_CANNOT_TELL;
	finding->sentence = psprintf("what %d of %d sessions do is not known, since track_activities is off there", n, facts->nsessions);
	finding->evidence = "Leaks and slow statements of these are not seen.";
	finding->next_step = shared->observed.leak_limits.blind
		? "ALTER SYSTEM RESET track_activities; SELECT pg_reload_conf();"
		: "SELECT datname, rolname, setconfig FROM pg_db_role_setting LEFT JOIN pg_database AS d ON d.oid = setdatabase LEFT JOIN pg_roles AS r ON r.oid = setrole WHERE setconfig::text LIKE '%track_activities%';";
	return true;
}

const Explanation explanation_activities_off = {
	.name = "activities off",
	.recorded = true,
	.judge = judge_activities_off,
};

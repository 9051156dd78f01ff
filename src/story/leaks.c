/*
 * leaks.c
 *		What a run asks of the monitor: to judge the run's own sessions by a
 *		threshold of their own, and to heal them.
 *
 * No setting is changed for that, and no session of others is concerned: both are in
 * the run's entry in shared memory, for the sessions of its roles.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "observe/monitor/healer.h"
#include "observe/monitor/strategy.h"
#include "shmem/monitor_status.h"
#include "story/story.h"
#include "story/target_type.h"

/*
 * Returns where track_activities is off for the sessions of the run, palloc'd, or "":
 * a setting of the database comes before one of all roles, and that before the server's.
 */
static const char *
where_not_tracked(Run *run)
{
	const char *own = query_text(run, psprintf("SELECT CASE WHEN c <> 'track_activities=off' THEN 'on' "
											   "WHEN setdatabase = 0 THEN 'all roles' ELSE 'the database' END "
											   "FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS c "
											   "WHERE setrole = 0 AND pg_catalog.starts_with(c, 'track_activities=') "
											   "AND setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = %s)) "
											   "ORDER BY setdatabase DESC LIMIT 1", quote_literal_cstr(run->database)));
	bool		blind;

	if (own[0] != '\0')
		return strcmp(own, "on") == 0 ? "" : own;
	LWLockAcquire(shared->observe_lock, LW_SHARED);
	blind = shared->observed.leak_limits.blind;
	LWLockRelease(shared->observe_lock);
	return blind ? "the server" : "";
}

/*
 * From now on the monitor judges the run's sessions by option leak_threshold_ms.
 * Ends the run as invalid if there is no monitor to do so, or it cannot know what
 * these sessions do.
 */
void
run_watch_leaks(Run *run)
{
	const char *where = where_not_tracked(run);

	Assert(target_needs_monitor(run->target, run->scenario));
	if (!monitor_is_fresh())
		run_end(run, VERDICT_INVALID, MONITOR_IS_AWAY);
	if (where[0] != '\0')
		run_end(run, VERDICT_INVALID, "track_activities is off for %s, so no leak can be found: set it to on", where);
	pg_atomic_write_u32(&run->entry->leak_threshold_ms, (uint32) run->options.leak_threshold_ms);
}

/* Returns how many roles the run has, and the roles; there is room for RUN_PARTIES_MAX. */
static int
run_roles(const Run *run, Oid *roles)
{
	for (int i = 0; i < run->nparties; i++)
		roles[i] = run->parties[i].role;
	return run->nparties;
}

/*
 * Returns how many of the run's sessions are suspected of a leak; as many of them as
 * there is room for go to "suspects".
 */
int
run_suspects(const Run *run, Suspect *suspects, int max)
{
	Oid			roles[RUN_PARTIES_MAX];

	return suspects_of(roles, run_roles(run, roles), suspects, max);
}

static char *
strategies_list(int set)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < STRATEGIES; i++)
		if (set & (1 << i))
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", strategies[i].name);
	return list.data;
}

/*
 * From now on the healer ends those of the run's sessions that are suspected of a
 * leak, as certain as these strategies, a set of 1 << number, want it: what a run
 * leaks it leaks on purpose, whatever pool_exhaust.heal_certainty says.  Ends the run
 * as invalid if the healer may not use them.
 */
void
run_heal(Run *run, int needed)
{
	if (!strategies_in_force(needed))
		run_end(run, VERDICT_INVALID, "pool_exhaust.heal_strategies has not all that this takes: add %s",
				strategies_list(needed));
	run->heals_before = heal_log_now();
	if (!run_fault(run, FAULT_NEVER_HEAL))
		pg_atomic_write_u32(&run->entry->heal, 1 + strategies_certainty(needed));
}

/*
 * Returns how many of the run's sessions were ended since run_heal(), and in
 * "strategies" by which strategies, in their order, palloc'd.
 */
int
run_healed(const Run *run, char **strategies)
{
	Oid			roles[RUN_PARTIES_MAX];
	int			acts;

	*strategies = heal_log_text(roles, run_roles(run, roles), run->heals_before, &acts);
	return acts;
}

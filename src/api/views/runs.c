/*
 * runs.c
 *		The rows of the views of runs: what there is to run, what is under way.
 */
#include "postgres.h"

#include "fmgr.h"

#include "api/rows.h"
#include "request/options.h"
#include "request/run_table.h"
#include "request/target.h"
#include "scenario/hold.h"
#include "scenario/list.h"

PG_FUNCTION_INFO_V1(pool_exhaust_progress_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_holds_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_run_roles);
PG_FUNCTION_INFO_V1(pool_exhaust_scenarios_rows);

/* The rows of view pool_exhaust_progress. */
Datum
pool_exhaust_progress_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row;

	shared_require();
	rows_begin(&row, fcinfo);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry	entry;

		LWLockAcquire(shared->lock, LW_SHARED);
		memcpy(&entry, &shared->runs[i], offsetof(RunEntry, lines_written));
		LWLockRelease(shared->lock);
		if (!run_entry_is_busy(&entry) || request_is_hold(&entry.request))
			continue;
		row_bigint_if(&row, entry.run_id != 0, entry.run_id);
		row_text(&row, entry.request.scenario);
		row_text(&row, entry.request.target_name);
		row_text(&row, entry.phase);
		row_int(&row, pg_atomic_read_u32(&shared->runs[i].done));
		row_int(&row, pg_atomic_read_u32(&shared->runs[i].total));
		row_time(&row, (uint64) entry.started_at);
		row_int(&row, pg_atomic_read_u32(&shared->runs[i].connections));
		row_end(&row);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_holds: the holds that are complete. */
Datum
pool_exhaust_holds_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row;

	shared_require();
	rows_begin(&row, fcinfo);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry	entry;

		LWLockAcquire(shared->lock, LW_SHARED);
		memcpy(&entry, &shared->runs[i], offsetof(RunEntry, lines_written));
		LWLockRelease(shared->lock);
		if (entry.state != RUN_RUNNING || !request_is_hold(&entry.request))
			continue;
		row_bigint(&row, entry.hold_id);
		row_text(&row, entry.request.target_name);
		row_text(&row, hold_kinds[entry.request.hold.kind].name);
		row_int(&row, pg_atomic_read_u32(&shared->runs[i].connections));
		row_bool(&row, entry.request.hold.leaked);
		row_time(&row, (uint64) entry.held_at);
		row_time(&row, (uint64) entry.expires_at);
		row_end(&row);
	}
	return (Datum) 0;
}

/*
 * The login roles of runs and holds under way, for the views that show a run_id
 * and a hold_id.
 */
Datum
pool_exhaust_run_roles(PG_FUNCTION_ARGS)
{
	RowBuilder	row;

	shared_require();
	rows_begin(&row, fcinfo);
	for (int i = 0; i < RUNS_MAX * RUN_PARTIES_MAX; i++)
	{
		const RunEntry *entry = &shared->runs[i / RUN_PARTIES_MAX];
		Oid			role;
		int64		run_id;
		int64		hold_id;
		bool		is_hold;

		LWLockAcquire(shared->lock, LW_SHARED);
		role = entry->roles[i % RUN_PARTIES_MAX];
		run_id = entry->run_id;
		hold_id = entry->hold_id;
		is_hold = request_is_hold(&entry->request);
		LWLockRelease(shared->lock);
		if (!OidIsValid(role))
			continue;
		row_bigint_if(&row, !is_hold, run_id);
		row_bigint_if(&row, is_hold, hold_id);
		row_oid(&row, role);
		row_end(&row);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_scenarios. */
Datum
pool_exhaust_scenarios_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row;

	rows_begin(&row, fcinfo);
	for (int i = 0; i < nscenarios; i++)
	{
		const Scenario *s = scenarios[i];

		row_text(&row, s->name);
		row_text(&row, s->summary);
		row_text(&row, target_types[s->default_target]->name);
		row_text(&row, s->effect);
		row_jsonb(&row, options_describe(s));
		row_end(&row);
	}
	return (Datum) 0;
}

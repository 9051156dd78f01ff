/*
 * runs.c
 *		The rows of the views of runs: what there is to run, what is under way.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "api/rows.h"
#include "request/options.h"
#include "request/run_table.h"
#include "scenario/hold.h"
#include "scenario/list.h"
#include "target/target.h"

PG_FUNCTION_INFO_V1(pool_exhaust_progress_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_holds_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_run_roles);
PG_FUNCTION_INFO_V1(pool_exhaust_scenarios_rows);

/* The rows of view pool_exhaust_progress. */
Datum
pool_exhaust_progress_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);

	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry	entry;

		run_entry_copy(i, &entry);
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
	RowBuilder	row = view_begin(fcinfo);

	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry	entry;

		run_entry_copy(i, &entry);
		if (entry.state != RUN_RUNNING || !request_is_hold(&entry.request))
			continue;
		row_bigint(&row, entry.hold_id);
		row_text(&row, entry.request.target_name);
		row_text(&row, hold_kinds[entry.request.hold.kind].name);
		row_int(&row, pg_atomic_read_u32(&shared->runs[i].connections));
		row_value(&row, BoolGetDatum(entry.request.hold.leaked));
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
	RowBuilder	row = view_begin(fcinfo);

	for (int i = 0; i < RUNS_MAX * RUN_PARTIES_MAX; i++)
	{
		RunEntry	entry;
		Oid			role;
		bool		is_hold;

		run_entry_copy(i / RUN_PARTIES_MAX, &entry);
		role = entry.roles[i % RUN_PARTIES_MAX];
		is_hold = request_is_hold(&entry.request);
		if (!OidIsValid(role))
			continue;
		row_bigint_if(&row, !is_hold, entry.run_id);
		row_bigint_if(&row, is_hold, entry.hold_id);
		row_value(&row, ObjectIdGetDatum(role));
		row_end(&row);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_scenarios. */
Datum
pool_exhaust_scenarios_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);

	for (int i = 0; i < nscenarios; i++)
	{
		const Scenario *s = scenarios[i];

		row_text(&row, s->name);
		row_text(&row, s->summary);
		row_text(&row, target_types[s->default_target]->name);
		row_text(&row, s->effect);
		row_json(&row, options_describe(s));
		row_end(&row);
	}
	return (Datum) 0;
}

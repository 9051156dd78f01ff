/*
 * runs.c
 *		The rows of the views of runs: what there is to run, what is under way.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

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
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry		entry;
		Datum		values[8];
		bool		nulls[8] = {false};
		int			n = 0;

		LWLockAcquire(shared->lock, LW_SHARED);
		memcpy(&entry, &shared->runs[i], offsetof(RunEntry, lines_written));
		LWLockRelease(shared->lock);
		if (!run_entry_is_busy(&entry) || request_is_hold(&entry.request))
			continue;
		nulls[0] = entry.run_id == 0;
		values[n++] = Int64GetDatum(entry.run_id);
		values[n++] = CStringGetTextDatum(entry.request.scenario);
		values[n++] = CStringGetTextDatum(entry.request.target_name);
		values[n++] = CStringGetTextDatum(entry.phase);
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].done));
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].total));
		values[n++] = TimestampTzGetDatum(entry.started_at);
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].connections));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_holds: the holds that are complete. */
Datum
pool_exhaust_holds_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunEntry		entry;
		Datum		values[7];
		bool		nulls[7] = {false};
		int			n = 0;

		LWLockAcquire(shared->lock, LW_SHARED);
		memcpy(&entry, &shared->runs[i], offsetof(RunEntry, lines_written));
		LWLockRelease(shared->lock);
		if (entry.state != RUN_RUNNING || !request_is_hold(&entry.request))
			continue;
		values[n++] = Int64GetDatum(entry.hold_id);
		values[n++] = CStringGetTextDatum(entry.request.target_name);
		values[n++] = CStringGetTextDatum(hold_kinds[entry.request.hold.kind].name);
		values[n++] = Int32GetDatum(pg_atomic_read_u32(&shared->runs[i].connections));
		values[n++] = BoolGetDatum(entry.request.hold.leaked);
		values[n++] = TimestampTzGetDatum(entry.held_at);
		values[n++] = TimestampTzGetDatum(entry.expires_at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
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
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < RUNS_MAX * RUN_PARTIES_MAX; i++)
	{
		const RunEntry *entry = &shared->runs[i / RUN_PARTIES_MAX];
		Datum		values[3];
		bool		nulls[3] = {false};
		Oid			role;

		LWLockAcquire(shared->lock, LW_SHARED);
		role = entry->roles[i % RUN_PARTIES_MAX];
		values[0] = Int64GetDatum(entry->run_id);
		values[1] = Int64GetDatum(entry->hold_id);
		nulls[0] = request_is_hold(&entry->request);
		nulls[1] = !nulls[0];
		LWLockRelease(shared->lock);
		values[2] = ObjectIdGetDatum(role);
		if (OidIsValid(role))
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The rows of view pool_exhaust_scenarios. */
Datum
pool_exhaust_scenarios_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < nscenarios; i++)
	{
		const Scenario *s = scenarios[i];
		bool		nulls[5] = {false};
		Datum		values[] = {
			CStringGetTextDatum(s->name),
			CStringGetTextDatum(s->summary),
			CStringGetTextDatum(target_types[s->default_target]->name),
			CStringGetTextDatum(s->effect),
			DirectFunctionCall1(jsonb_in, CStringGetDatum(options_describe(s))),
		};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * results.c
 *		Writes runs, checks, samples and latencies, in the runner's own transactions.
 *
 * The row of a run is written when it begins, without a verdict, and completed
 * when it ends; a row that never was is the trace of a crash.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "base/buckets.h"
#include "base/text.h"
#include "load/failure.h"
#include "request/options.h"
#include "request/run_table.h"
#include "runner/calibration.h"
#include "runner/environment.h"
#include "runner/results.h"
#include "sql/statement.h"
#include "story/sub_runs.h"

static int	history_retention = 30 * SECS_PER_DAY;

void
results_init(void)
{
	DefineCustomIntVariable("pool_exhaust.history_retention",
							"How long the results of runs are kept.",
							"0 keeps them for ever.",
							&history_retention, 30 * SECS_PER_DAY, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

/* Begins a transaction on the tables of results, as their owner. */
static void
results_open(Extension *extension)
{
	transaction_begin();
	extension_require(extension);
	extension_enter(extension);
}

static void
results_close(Extension *extension)
{
	extension_leave(extension);
	transaction_commit();
}

/*
 * Returns the ids of the runs of this database that are under way, as an array;
 * "all" is false if one but "mine" has begun and does not show its id yet.
 */
static Datum
ids_under_way(const RunEntry *mine, bool *all)
{
	Datum		ids[RUNS_MAX];
	int			n = 0;

	*all = true;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		const RunEntry *entry = &shared->runs[i];

		if (!run_entry_is_busy(entry) || entry->database != MyDatabaseId || request_is_hold(&entry->request))
			continue;
		if (entry->run_id != 0)
			ids[n++] = Int64GetDatum(entry->run_id);
		else if (entry != mine)
			*all = false;
	}
	LWLockRelease(shared->lock);
	return PointerGetDatum(construct_array(ids, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Ends the runs of this database that have no verdict and are not under way: the
 * server crashed, a standby was promoted, their results could not be written, or
 * they came with a dump.  As the owner of the extension.
 */
static void
end_lost_runs(const Extension *extension, const RunEntry *mine)
{
	bool		all;
	Oid			types[] = {INT8ARRAYOID, TIMESTAMPTZOID, BOOLOID};
	Datum		ids = ids_under_way(mine, &all);
	Datum		values[] = {ids, TimestampTzGetDatum(shared->born_at), BoolGetDatum(all)};

	statement_run(extension,
				  "UPDATE @.pool_exhaust_runs SET verdict = 'aborted', "
				  "reason = CASE WHEN started_at < $2 THEN 'the server stopped or crashed during the run' "
				  "ELSE '" RUN_LOST_REASON "' END, "
				  "finished_at = pg_catalog.clock_timestamp() "
				  "WHERE verdict IS NULL AND id <> ALL ($1) AND ($3 OR started_at < $2)",
				  SPI_OK_UPDATE, lengthof(types), types, values);
}

/* Records that the run has begun and returns its id. */
int64
results_begin(Run *run)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, OIDOID, TIMESTAMPTZOID};
	Datum		values[] = {
		CStringGetTextDatum(run->request.scenario),
		CStringGetTextDatum(run->request.target_name),
		CStringGetTextDatum(options_json(&run->request, run->scenario, &run->options)),
		Int64GetDatum(run->options.seed),
		CStringGetTextDatum(EXTVERSION),
		ObjectIdGetDatum(run->entry->owner),
		TimestampTzGetDatum(run->started_at),
	};
	Extension	extension;
	int64		id;

	results_open(&extension);
	end_lost_runs(&extension, run->entry);
	statement_run(&extension,
				  "INSERT INTO @.pool_exhaust_runs "
				  "(scenario, target, options, seed, started_at, server_version, extension_version, role) "
				  "VALUES ($1, $2, $3::jsonb, $4, $7, "
				  "pg_catalog.current_setting('server_version'), $5, "
				  "(SELECT rolname FROM pg_catalog.pg_roles WHERE oid = $6)) RETURNING id",
				  SPI_OK_INSERT_RETURNING, lengthof(types), types, values);
	id = pg_strtoint64(statement_text(0, 1));
	results_close(&extension);
	return id;
}

static void
json_phase(StringInfo json, const Run *run, const Phase *p)
{
	appendStringInfoString(json, "{\"phase\": ");
	escape_json(json, p->name);
	appendStringInfo(json, ", \"began_ms\": %.3f, \"elapsed_ms\": %.3f, \"paused_ms\": %.3f, "
					 "\"cpu_ms\": %.3f, \"granted\": " UINT64_FORMAT ", \"refused\": " UINT64_FORMAT ", "
					 "\"timed_out\": " UINT64_FORMAT ", ",
					 p->started_us > 0 ? (p->started_us - run->started_us) / 1000.0 : 0,
					 p->elapsed_us / 1000.0, p->paused_us / 1000.0, p->cpu_us / 1000.0,
					 p->granted, p->refused, p->timed_out);
	appendStringInfo(json, "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"note\": ",
					 histogram_ms(&p->latency, 0.50), histogram_ms(&p->latency, 0.99),
					 histogram_max_ms(&p->latency));
	escape_json(json, p->note != NULL ? p->note : "");
	if (p->figures.data != NULL)
		appendStringInfo(json, ", \"figures\": {%s}", p->figures.data);
	appendStringInfoChar(json, '}');
}

/* What became of the requests to a pool, and of its connections. */
static void
json_pool(StringInfo json, const Pool *pool)
{
	const PoolStats *stats = &pool->stats;
	bool		first = true;

	appendStringInfo(json, "{\"granted\": " UINT64_FORMAT ", \"refused\": " UINT64_FORMAT
					 ", \"timed_out\": " UINT64_FORMAT ", \"failed\": " UINT64_FORMAT
					 ", \"lost\": " UINT64_FORMAT ", \"replaced\": " UINT64_FORMAT
					 ", \"expired\": " UINT64_FORMAT ", \"stalled\": " UINT64_FORMAT
					 ", \"refused_logins\": {",
					 stats->granted, stats->refused, stats->timed_out, stats->failed, stats->lost,
					 stats->replaced, stats->expired, stats->stalled);
	for (int i = 0; i < CAUSES; i++)
	{
		if (stats->refused_by[i] == 0)
			continue;
		appendStringInfo(json, "%s\"%s\": " UINT64_FORMAT, first ? "" : ", ",
						 cause_kinds[i].name, stats->refused_by[i]);
		first = false;
	}
	appendStringInfoString(json, "}, \"last_failure\": ");
	escape_json(json, connect_failure_text(&pool->last_failure));
	appendStringInfoString(json, ", \"last_loss\": ");
	escape_json(json, connect_failure_text(&pool->last_loss));
	appendStringInfoChar(json, '}');
}

/* What chaos did, and the acts in their order, which are the same for the same seed. */
static void
json_chaos(StringInfo json, const Chaos *chaos)
{
	appendStringInfoString(json, ", \"chaos\": {");
	for (int i = 0; i < CHAOS_KINDS; i++)
		appendStringInfo(json, "\"%s\": " UINT64_FORMAT ", ", chaos_kind_names[i], chaos->counts.done[i]);
	appendStringInfo(json, "\"drawn\": " UINT64_FORMAT ", \"acts\": [", chaos->drawn);
	for (int i = 0; i < chaos->nacts; i++)
	{
		const ChaosAct *act = &chaos->acts[i];

		appendStringInfo(json, "%s{\"at_ms\": %.3f, \"kind\": \"%s\", \"pick\": %.6f, \"extent\": %.6f, \"end\": \"%s\"}",
						 i > 0 ? ", " : "", act->at_us / 1000.0, chaos_kind_names[act->kind],
						 act->pick, act->extent, act_end_names[act->end]);
	}
	appendStringInfoString(json, "]}");
}

/* The ids of the runs that it has started. */
static void
json_sub_runs(StringInfo json, const Run *run)
{
	const char *separator = "";

	appendStringInfoString(json, ", \"sub_runs\": [");
	for (int i = 0; i < run->nsub_runs; i++)
	{
		if (run->sub_runs[i].run_id == 0)
			continue;
		appendStringInfo(json, "%s" INT64_FORMAT, separator, run->sub_runs[i].run_id);
		separator = ", ";
	}
	appendStringInfoChar(json, ']');
}

/* What the report needs beside checks and samples. */
static char *
summary_json(const Run *run)
{
	StringInfoData json;
	int			peak = 0;

	for (int i = 0; i < run->series.n; i++)
		peak = Max(peak, run->series.samples[i].in_use);
	initStringInfo(&json);
	appendStringInfo(&json, "{\"capacity\": %d, \"peak_in_use\": %d, \"elapsed_ms\": %.3f, "
					 "\"way_in\": ",
					 run->series.capacity, peak, (loop_now_us() - run->started_us) / 1000.0);
	escape_json(&json, text_printable(run->login_endpoint != NULL ? run->login_endpoint : ""));
	appendStringInfoString(&json, ", \"phases\": [");
	for (int i = 0; i < run->nphases; i++)
	{
		if (i > 0)
			appendStringInfoString(&json, ", ");
		json_phase(&json, run, &run->phases[i]);
	}
	appendStringInfoString(&json, "], \"pools\": [");
	for (int i = 0; i < run->nparties && run->parties[i].pool != NULL; i++)
	{
		if (i > 0)
			appendStringInfoString(&json, ", ");
		json_pool(&json, run->parties[i].pool);
	}
	appendStringInfoChar(&json, ']');
	if (run->chaos.clock != NULL)
		json_chaos(&json, &run->chaos);
	if (run->nsub_runs > 0)
		json_sub_runs(&json, run);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* ERROR if the row is gone: the keys that would keep checks without a run out do not act here, see connect.c. */
static void
write_run(const Run *run, const Extension *extension)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {
		Int64GetDatum(run->entry->run_id),
		CStringGetTextDatum(verdict_names[run->verdict]),
		CStringGetTextDatum(run->reason),
		CStringGetTextDatum(summary_json(run)),
		CStringGetTextDatum(environment_json(run)),
		CStringGetTextDatum(calibration_json(run)),
		TimestampTzGetDatum(run_now(run)),
	};

	statement_run(extension,
				  "UPDATE @.pool_exhaust_runs SET verdict = $2, reason = NULLIF($3, ''), "
				  "finished_at = $7, summary = $4::jsonb, environment = $5::jsonb, "
				  "calibration = NULLIF($6, '')::jsonb WHERE id = $1",
				  SPI_OK_UPDATE, lengthof(types), types, values);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the row of run " INT64_FORMAT " was deleted while it was under way", run->entry->run_id)));
}

static void
write_check(const Run *run, const Check *check, int seq, const Extension *extension)
{
	const Comparison *c = &check->comparison;
	bool		numbers = c->operator != OPERATOR_NONE;
	Oid			types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	BOOLOID, TEXTOID, FLOAT8OID, BOOLOID, FLOAT8OID, FLOAT8OID};
	Datum		values[] = {
		Int64GetDatum(run->entry->run_id),
		Int32GetDatum(seq),
		CStringGetTextDatum(check->phase),
		CStringGetTextDatum(check->name),
		CStringGetTextDatum(outcome_names[check->outcome]),
		CStringGetTextDatum(check_expected(check)),
		CStringGetTextDatum(check_observed(check)),
		CStringGetTextDatum(check->unit),
		CStringGetTextDatum(check->detail),
		BoolGetDatum(numbers),
		CStringGetTextDatum(numbers ? operator_word(c->operator) : ""),
		Float8GetDatum(c->expected),
		BoolGetDatum(comparison_has_tolerance(c)),
		Float8GetDatum(c->tolerance),
		Float8GetDatum(c->observed),
	};

	statement_run(extension,
				  "INSERT INTO @.pool_exhaust_checks "
				  "(run_id, seq, phase, name, outcome, expected, observed, unit, detail, "
				  "operator, expected_num, tolerance, observed_num) "
				  "VALUES ($1, $2, $3, $4, $5, $6, $7, NULLIF($8, ''), NULLIF($9, ''), "
				  "NULLIF($11, ''), CASE WHEN $10 THEN $12 END, CASE WHEN $13 THEN $14 END, CASE WHEN $10 THEN $15 END)",
				  SPI_OK_INSERT, lengthof(types), types, values);
}

static void
write_checks(const Run *run, const Extension *extension)
{
	for (int i = 0; i < run->nchecks; i++)
		write_check(run, &run->checks[i], i + 1, extension);
}

static void
write_samples(const Run *run, const Extension *extension)
{
	Oid			types[] = {INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID,
	FLOAT8OID, FLOAT8OID, TEXTOID};

	for (int i = 0; i < run->series.n; i++)
	{
		const Sample *s = &run->series.samples[i];
		Datum		values[] = {
			Int64GetDatum(run->entry->run_id),
			TimestampTzGetDatum(s->at),
			Int32GetDatum(s->in_use),
			Int32GetDatum(s->waiting),
			Int64GetDatum(s->granted),
			Int64GetDatum(s->refused),
			Int64GetDatum(s->timed_out),
			Float8GetDatum(s->p50_ms),
			Float8GetDatum(s->p99_ms),
			CStringGetTextDatum(health_names[s->health]),
		};

		statement_run(extension,
					  "INSERT INTO @.pool_exhaust_samples "
					  "(run_id, at, in_use, waiting, granted, refused, timed_out, p50_ms, p99_ms, health) "
					  "VALUES ($1, $2, $3, $4, $5, $6, $7, NULLIF($8, 0), NULLIF($9, 0), $10)",
					  SPI_OK_INSERT, lengthof(types), types, values);
	}
}

static void
write_latencies(const Run *run, const Extension *extension)
{
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, INT8ARRAYOID};
	ListCell   *cell;

	foreach(cell, run->latencies)
	{
		const PhaseLatency *latency = lfirst(cell);
		Datum		values[] = {
			Int64GetDatum(run->entry->run_id),
			CStringGetTextDatum(latency->phase),
			CStringGetTextDatum(latency->metric),
			buckets_datum(latency->n, latency->pairs),
		};

		statement_run(extension,
					  "INSERT INTO @.pool_exhaust_histograms (run_id, phase, metric, unit, buckets) "
					  "VALUES ($1, $2, $3, 'us', $4)",
					  SPI_OK_INSERT, lengthof(types), types, values);
	}
}

/* The keys that reference the runs do not act here: see connect.c. */
static void
forget_old_runs(const Extension *extension)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(history_retention)};

	if (history_retention > 0)
		statement_run(extension,
					  "WITH old AS (DELETE FROM @.pool_exhaust_runs WHERE finished_at < "
					  "pg_catalog.now() - pg_catalog.make_interval(secs => $1) RETURNING id), "
					  "c AS (DELETE FROM @.pool_exhaust_checks WHERE run_id IN (SELECT id FROM old)), "
					  "h AS (DELETE FROM @.pool_exhaust_histograms WHERE run_id IN (SELECT id FROM old)) "
					  "DELETE FROM @.pool_exhaust_samples WHERE run_id IN (SELECT id FROM old)",
					  SPI_OK_DELETE, 1, types, values);
}

/*
 * Completes the row of the run and writes its checks, samples and latencies, all
 * or nothing.  ERROR if the tables are gone or locked.
 */
void
results_finish(Run *run)
{
	Extension	extension;

	results_open(&extension);
	write_run(run, &extension);
	write_checks(run, &extension);
	write_samples(run, &extension);
	write_latencies(run, &extension);
	forget_old_runs(&extension);
	results_close(&extension);
}

/* The same, where the extension is installed.  Needs a transaction with SPI. */
void
results_sweep(void)
{
	Extension	extension;

	if (!extension_find(&extension))
		return;
	extension_enter(&extension);
	end_lost_runs(&extension, NULL);
	extension_leave(&extension);
}

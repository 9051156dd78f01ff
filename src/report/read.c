/*
 * read.c
 *		Reads the results of a run from the tables.
 *
 * A role that may call the functions may read the reports of its own runs without
 * a right to the tables, so those are read as the owner of the extension; and with a
 * snapshot of this moment, because the run has ended after the caller's statement
 * began.
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "report/compare.h"
#include "report/percentiles.h"
#include "report/report.h"
#include "request/options.h"
#include "request/run_table.h"
#include "scenario/list.h"
#include "sql/statement.h"

typedef struct Reader
{
	Extension	extension;
	MemoryContext context;		/* that the results go to */
	const ReportEnd *end;		/* or NULL */
} Reader;

/*
 * Returns how the run ends if its row has no verdict: before its runner publishes the
 * end it writes the row, so a run that is not under way will not.  NULL if it may be
 * under way, or be one of the primary of this server.
 */
static const ReportEnd *
end_if_lost(int64 run_id)
{
	static ReportEnd lost;

	if (RecoveryInProgress() || (shared != NULL && run_may_be_under_way(run_id)))
		return NULL;
	lost = (ReportEnd) {verdict_names[VERDICT_ABORTED], RUN_LOST_REASON};
	return &lost;
}

/* Reads with a snapshot of this moment, so what is known of the end comes first. */
static void
reader_open(Reader *reader, const ReportEnd *end)
{
	reader->end = end;
	reader->context = CurrentMemoryContext;
	extension_require_current(&reader->extension);
	extension_enter(&reader->extension);
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
}

static void
reader_close(Reader *reader)
{
	SPI_finish();
	PopActiveSnapshot();
	extension_leave(&reader->extension);
}

/* In a query with table pool_exhaust_runs as r: may the caller read this run? */
#define MAY_READ "(pg_catalog.has_table_privilege($4, r.tableoid, 'SELECT') OR coalesce(r.role = $5, false))"

/*
 * $1 in the query is the run, $2 and $3 are its end if that is known, $4 is the caller
 * and $5 the role as which it has logged in.  Returns how many rows there are; their
 * texts go to the caller's memory.
 */
static int
reader_query(Reader *reader, const char *query, int64 run_id)
{
	const ReportEnd *end = reader->end;
	const char *role = GetUserNameFromId(GetSessionUserId(), true);
	Oid			types[] = {INT8OID, TEXTOID, TEXTOID, OIDOID, TEXTOID};
	Datum		values[] = {
		Int64GetDatum(run_id),
		CStringGetTextDatum(end != NULL ? end->verdict : ""),
		CStringGetTextDatum(end != NULL ? end->reason : ""),
		ObjectIdGetDatum(reader->extension.user),
		CStringGetTextDatum(role != NULL ? role : ""),
	};

	statement_run(&reader->extension, query, SPI_OK_SELECT, lengthof(types), types, values);
	MemoryContextSwitchTo(reader->context);
	return (int) SPI_processed;
}

/* A field of the last result as text; "" for NULL.  What wrote the row may not have made it fit to be shown. */
static char *
reader_text(int row, int column)
{
	return text_printable(statement_text(row, column));
}

/* A field of the last result of type float8, which no setting of the caller's rounds, or what NULL stands for. */
static double
reader_number_or(int row, int column, double null)
{
	bool		isnull;
	Datum		number = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? null : DatumGetFloat8(number);
}

static double
reader_number(int row, int column)
{
	return reader_number_or(row, column, 0);
}

static void
require_run(int rows, int64 run_id)
{
	if (rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run " INT64_FORMAT " does not exist", run_id),
				 errhint("Table pool_exhaust_runs lists the runs.")));
}

/*
 * ERROR unless the caller may read the run, which there is: has waited for its end,
 * started it before, or may read the table.
 */
static void
require_right(const Reader *reader, bool may_read, int64 run_id)
{
	if ((reader->end == NULL || !reader->end->waited) && !may_read)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for the report of run " INT64_FORMAT, run_id),
				 errhint("A role reads the reports of the runs that it has started; those of others need SELECT on table pool_exhaust_runs, which pg_monitor has.")));
}

/* JSON has no number for the infinite time of what never happened. */
static void
read_run(Reader *reader, ReportData *data)
{
	require_run(reader_query(reader,
							 "SELECT scenario, target, coalesce(verdict, nullif($2, '')), "
							 "CASE WHEN verdict IS NULL THEN nullif($3, '') ELSE reason END, "
							 "(summary->>'elapsed_ms')::float8 / 1000, (summary->>'capacity')::float8, "
							 "pg_catalog.to_jsonb(r) - 'id' || CASE WHEN verdict IS NULL THEN pg_catalog.jsonb_build_object("
							 "'verdict', nullif($2, ''), 'reason', nullif($3, '')) ELSE '{}' END || "
							 "pg_catalog.jsonb_build_object('run_id', id, 'checks', "
							 "coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) - 'run_id' || "
							 "pg_catalog.jsonb_build_object('observed_num', nullif(observed_num, 'Infinity')) ORDER BY seq) "
							 "FROM @.pool_exhaust_checks c WHERE run_id = $1), '[]')), " MAY_READ ", "
							 "started_at, seed, server_version, extension_version, environment, calibration, "
							 "pg_catalog.to_char(pg_catalog.timezone('UTC', started_at), 'YYYY-MM-DD\"T\"HH24:MI:SS'), "
							 "environment->>'repeat' "
							 "FROM @.pool_exhaust_runs r WHERE id = $1", data->run_id), data->run_id);
	require_right(reader, statement_text(0, 8)[0] == 't', data->run_id);
	data->scenario = reader_text(0, 1);
	data->target = reader_text(0, 2);
	data->verdict = reader_text(0, 3);
	data->reason = reader_text(0, 4);
	data->elapsed_s = reader_number(0, 5);
	data->capacity = (int) reader_number(0, 6);
	data->json = reader_text(0, 7);
	data->started_at = reader_text(0, 9);
	data->seed = reader_text(0, 10);
	data->server_version = reader_text(0, 11);
	data->extension_version = reader_text(0, 12);
	data->environment = reader_text(0, 13);
	data->calibration = reader_text(0, 14);
	data->started_utc = reader_text(0, 15);
	data->repeat = reader_text(0, 16);
}

static void
read_phases(Reader *reader, ReportData *data)
{
	data->nphases = reader_query(reader,
								 "SELECT p->>'phase', p->>'note', (p->>'began_ms')::float8 / 1000, "
								 "(p->>'elapsed_ms')::float8 / 1000, p->'figures' FROM @.pool_exhaust_runs, "
								 "pg_catalog.jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n) "
								 "WHERE id = $1 ORDER BY n", data->run_id);
	data->phases = palloc0(sizeof(ReportPhase) * data->nphases);
	for (int i = 0; i < data->nphases; i++)
		data->phases[i] = (ReportPhase) {reader_text(i, 1), reader_text(i, 2), reader_number_or(i, 3, -1), reader_number(i, 4),
		reader_text(i, 5)};
}

static void
read_checks(Reader *reader, ReportData *data)
{
	data->nchecks = reader_query(reader,
								 "SELECT name, outcome, expected, observed, unit, detail, "
								 "operator, expected_num, tolerance, observed_num, phase "
								 "FROM @.pool_exhaust_checks WHERE run_id = $1 ORDER BY seq", data->run_id);
	data->checks = palloc0(sizeof(ReportCheck) * data->nchecks);
	for (int i = 0; i < data->nchecks; i++)
		data->checks[i] = (ReportCheck)
		{
			.phase = reader_text(i, 11),
			.name = reader_text(i, 1),
			.outcome = reader_text(i, 2),
			.expected = reader_text(i, 3),
			.observed = reader_text(i, 4),
			.unit = reader_text(i, 5),
			.detail = reader_text(i, 6),
			.comparison = {
				.operator = operator_find(statement_text(i, 7)),
				.expected = reader_number(i, 8),
				.tolerance = reader_number(i, 9),
				.observed = reader_number(i, 10),
			},
		};
}

static void
read_samples(Reader *reader, ReportData *data)
{
	data->nsamples = reader_query(reader,
								  "SELECT extract(epoch FROM at - started_at)::float8, in_use::float8, waiting::float8, "
								  "granted::float8, s.refused::float8, timed_out::float8, p50_ms, p99_ms, health "
								  "FROM @.pool_exhaust_samples s, @.pool_exhaust_runs r "
								  "WHERE s.run_id = $1 AND r.id = $1 ORDER BY at", data->run_id);
	data->samples = palloc_extended(sizeof(ReportSample) * data->nsamples, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < data->nsamples; i++)
		data->samples[i] = (ReportSample)
		{
			.at_s = reader_number(i, 1),
			.in_use = (int) reader_number(i, 2),
			.waiting = (int) reader_number(i, 3),
			.granted = (int64) reader_number(i, 4),
			.refused = (int64) reader_number(i, 5),
			.timed_out = (int64) reader_number(i, 6),
			.p50_ms = reader_number_or(i, 7, -1),
			.p99_ms = reader_number_or(i, 8, -1),
			.health = reader_text(i, 9),
		};
}

/* A row of phase, metric, unit and buckets. */
static ReportLatency
read_latency(int row)
{
	bool		isnull;
	Datum		buckets = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 4, &isnull);

	return (ReportLatency)
	{
		reader_text(row, 1), reader_text(row, 2), reader_text(row, 3),
			buckets_of(PointerGetDatum(PG_DETOAST_DATUM_COPY(buckets)))
	};
}

static void
read_latencies(Reader *reader, ReportData *data)
{
	data->nlatencies = reader_query(reader,
									"SELECT phase, metric, unit, buckets FROM @.pool_exhaust_histograms "
									"WHERE run_id = $1 ORDER BY (SELECT pg_catalog.min(n) FROM @.pool_exhaust_runs, "
									"pg_catalog.jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n) "
									"WHERE id = $1 AND p->>'phase' = phase), metric, ctid", data->run_id);
	data->latencies = palloc0(sizeof(ReportLatency) * data->nlatencies);
	for (int i = 0; i < data->nlatencies; i++)
		data->latencies[i] = read_latency(i);
}

/*
 * Returns the defaults of the run's scenario as an SQL literal, as view
 * pool_exhaust_scenarios has them: those of this version, whichever wrote the run.
 */
static char *
defaults_literal(const ReportData *data)
{
	const Scenario *scenario = scenario_find(data->scenario);

	return quote_literal_cstr(scenario != NULL ? options_describe(scenario) : "{}");
}

static void
read_options(Reader *reader, ReportData *data)
{
	data->noptions = reader_query(reader, psprintf(
												   "SELECT o.key, o.value, o.key <> 'seed' AND o.value IS DISTINCT FROM "
												   "coalesce(d.value->(r.options->>'profile'), d.value->'default') "
												   "FROM @.pool_exhaust_runs r, pg_catalog.jsonb_each(r.options) AS o "
												   "LEFT JOIN pg_catalog.jsonb_each(%s::jsonb) AS d ON d.key = o.key "
												   "WHERE r.id = $1 ORDER BY o.key COLLATE \"C\"", defaults_literal(data)),
								  data->run_id);
	data->options = palloc0(sizeof(ReportOption) * data->noptions);
	for (int i = 0; i < data->noptions; i++)
		data->options[i] = (ReportOption) {reader_text(i, 1), reader_text(i, 2), statement_text(i, 3)[0] == 't'};
}

static void
read_refusals(Reader *reader, ReportData *data)
{
	data->nrefusals = reader_query(reader,
								   "SELECT l.key, pg_catalog.sum(l.value::float8) FROM @.pool_exhaust_runs, "
								   "pg_catalog.jsonb_array_elements(summary->'pools') AS e(p), "
								   "pg_catalog.jsonb_each(p->'refused_logins') AS l WHERE id = $1 "
								   "GROUP BY l.key ORDER BY 2 DESC, l.key COLLATE \"C\"", data->run_id);
	data->refusals = palloc0(sizeof(ReportRefusal) * data->nrefusals);
	for (int i = 0; i < data->nrefusals; i++)
		data->refusals[i] = (ReportRefusal) {reader_text(i, 1), reader_number(i, 2)};
}

/* Returns the ids of the runs that it has started and whose results are still there, data->nparts of them. */
static int64 *
read_part_ids(Reader *reader, ReportData *data)
{
	int64	   *ids;

	data->nparts = reader_query(reader,
								"SELECT p.id FROM @.pool_exhaust_runs r, "
								"pg_catalog.jsonb_path_query(r.summary, '$.sub_runs[*]') WITH ORDINALITY AS e(sub_run, n), "
								"@.pool_exhaust_runs p WHERE r.id = $1 AND p.id::text = sub_run::text ORDER BY n", data->run_id);
	ids = palloc(sizeof(int64) * data->nparts);
	for (int i = 0; i < data->nparts; i++)
		ids[i] = pg_strtoint64(statement_text(i, 1));
	return ids;
}

static void
read_parts(ReportData *data, const int64 *ids)
{
	data->parts = palloc0(sizeof(ReportData *) * data->nparts);
	for (int i = 0; i < data->nparts; i++)
		data->parts[i] = report_read(ids[i], NULL, false);
}

/*
 * Returns the results of a run, with its parts if those are asked for, palloc'd in
 * the current memory context.  "end" is NULL, or as the caller knows it.  ERROR if
 * there is no such run, the caller may not read it, or the extension has another
 * version than the library.
 */
ReportData *
report_read(int64 run_id, const ReportEnd *end, bool parts)
{
	ReportData *data = palloc0(sizeof(ReportData));
	int64	   *part_ids = NULL;
	Reader		reader;

	data->run_id = run_id;
	reader_open(&reader, end != NULL ? end : end_if_lost(run_id));
	read_run(&reader, data);
	read_phases(&reader, data);
	read_checks(&reader, data);
	read_samples(&reader, data);
	read_latencies(&reader, data);
	read_options(&reader, data);
	read_refusals(&reader, data);
	if (parts)
		part_ids = read_part_ids(&reader, data);
	reader_close(&reader);
	read_parts(data, part_ids);
	return data;
}

/*
 * What runs must have in common: the members of their environment, and of the options
 * there.  That of version 1.0 is not known, so two of its runs are not comparable.
 * Those of a repetition are there to be compared, whichever part of it they are.
 */
static void
read_differences(Reader *reader, RunComparison *c)
{
	c->ndifferences = reader_query(reader, psprintf("WITH members AS (SELECT id, m.* FROM @.pool_exhaust_runs, "
													"LATERAL (SELECT key, value FROM pg_catalog.jsonb_each(environment - 'options' - 'repeat') "
													"UNION ALL SELECT 'option ' || key, value "
													"FROM pg_catalog.jsonb_each(environment->'options')) AS m "
													"WHERE id IN ($1, " INT64_FORMAT ")), "
													"pairs AS (SELECT key, pg_catalog.max(value::text) FILTER (WHERE id = $1) AS base, "
													"pg_catalog.max(value::text) FILTER (WHERE id = " INT64_FORMAT ") AS candidate "
													"FROM members GROUP BY key) "
													"SELECT * FROM pairs WHERE base IS DISTINCT FROM candidate ORDER BY key COLLATE \"C\"",
													c->candidate->run_id, c->candidate->run_id), c->base->run_id);
	c->differences = palloc0(sizeof(EnvironmentDifference) * Max(c->ndifferences, 1));
	for (int i = 0; i < c->ndifferences; i++)
		c->differences[i] = (EnvironmentDifference) {reader_text(i, 1), reader_text(i, 2), reader_text(i, 3)};
	if (c->base->environment[0] == '\0' && c->candidate->environment[0] == '\0')
		c->differences[c->ndifferences++] = (EnvironmentDifference) {"environment", "", ""};
}

/* In a query with view pool_exhaust_trends as t: is it the series that the run is of, with a verdict or not? */
#define SERIES_OF_RUN \
	"t.scenario = (SELECT scenario FROM @.pool_exhaust_runs WHERE id = $1) " \
	"AND t.target = (SELECT target FROM @.pool_exhaust_runs WHERE id = $1) " \
	"AND t.environment = (SELECT pg_catalog.left(pg_catalog.md5(environment::text), 8) FROM @.pool_exhaust_runs WHERE id = $1)"

static void
read_noises(Reader *reader, RunComparison *c)
{
	c->nnoises = reader_query(reader, "SELECT metric, noise FROM @.pool_exhaust_trends t "
							  "WHERE " SERIES_OF_RUN " AND t.verdict <> 'not enough runs'", c->base->run_id);
	c->noises = palloc0(sizeof(TrendNoise) * Max(c->nnoises, 1));
	for (int i = 0; i < c->nnoises; i++)
		c->noises[i] = (TrendNoise) {reader_text(i, 1), reader_number(i, 2)};
}

/*
 * Puts what differs in the environment of both runs, and the noise of the trend that
 * the base is part of, into the comparison; palloc'd.  The caller may read both runs.
 */
void
comparison_read(RunComparison *comparison)
{
	Reader		reader;

	reader_open(&reader, NULL);
	read_differences(&reader, comparison);
	read_noises(&reader, comparison);
	reader_close(&reader);
}

/* ---------- The history of a run's metrics ---------- */

#define HISTORIES_MAX	8

/* Reads the metrics of the series that the run is one of the last of; returns how many, and the runs as an SQL literal. */
static int
read_trends(Reader *reader, const ReportData *data, ReportHistory **trends, char **run_ids)
{
	int			n = reader_query(reader, "SELECT metric, unit, verdict, median, noise, run_ids FROM @.pool_exhaust_trends t "
								 "WHERE " SERIES_OF_RUN " AND $1 = ANY (t.run_ids)", data->run_id);

	*trends = palloc0(sizeof(ReportHistory) * n);
	for (int i = 0; i < n; i++)
		(*trends)[i] = (ReportHistory) {reader_text(i, 1), reader_text(i, 2), reader_text(i, 3),
		reader_number_or(i, 4, NAN), reader_number_or(i, 5, NAN)};
	*run_ids = n > 0 ? quote_literal_cstr(statement_text(0, 6)) : NULL;
	return n;
}

/* Which metrics come first: 0 those that have changed, then the largest percentile of a latency, then the others. */
static int
history_rank(const ReportHistory *trend, int percentile)
{
	if (strcmp(trend->verdict, "steady") != 0 && strcmp(trend->verdict, "not enough runs") != 0)
		return 0;
	return percentile == lengthof(percentiles) - 1 ? 1 : 2;
}

/* Adds the metrics of a latency that are of that rank, while there is room for them. */
static void
histories_add(ReportData *data, const ReportLatency *latency, const ReportHistory *trends, int ntrends, int rank)
{
	for (int p = 0; p < lengthof(percentiles); p++)
		for (int i = 0; i < ntrends; i++)
			if (strcmp(trends[i].metric, percentile_name(latency, &percentiles[p])) == 0 &&
				strcmp(trends[i].unit, latency->unit) == 0 &&
				history_rank(&trends[i], p) == rank && data->nhistories < HISTORIES_MAX)
				data->histories[data->nhistories++] = trends[i];
}

/* Adds a latency of a run to the histories that are of it. */
static void
history_add_values(ReportData *data, int64 run_id, const ReportLatency *latency)
{
	for (int p = 0; p < lengthof(percentiles); p++)
	{
		char	   *name = percentile_name(latency, &percentiles[p]);

		for (int i = 0; i < data->nhistories; i++)
		{
			ReportHistory *history = &data->histories[i];

			if (strcmp(history->metric, name) != 0 || strcmp(history->unit, latency->unit) != 0)
				continue;
			history->run_ids[history->n] = run_id;
			history->values[history->n++] = buckets_percentile(&latency->buckets, percentiles[p].fraction);
		}
	}
}

/* Reads the values of these runs, as far as the caller may read those, in the order of the runs. */
static void
read_values(Reader *reader, ReportData *data, const char *run_ids)
{
	int			n = reader_query(reader, psprintf("SELECT phase, metric, unit, h.buckets, h.run_id FROM @.pool_exhaust_runs r "
												  "JOIN @.pool_exhaust_histograms h ON h.run_id = r.id "
												  "WHERE r.id = ANY (%s::bigint[]) AND h.buckets <> '{}' AND " MAY_READ " "
												  "ORDER BY r.id", run_ids), data->run_id);

	for (int i = 0; i < data->nhistories; i++)
	{
		data->histories[i].run_ids = palloc(sizeof(int64) * n);
		data->histories[i].values = palloc(sizeof(double) * n);
	}
	for (int i = 0; i < n; i++)
	{
		ReportLatency latency = read_latency(i);

		history_add_values(data, pg_strtoint64(statement_text(i, 5)), &latency);
	}
}

/*
 * Puts the history of the metrics of the run into its results, palloc'd: those that
 * view pool_exhaust_trends has for its series, if the run is one of the last of that,
 * and earlier ones have a value.  The caller may read the run.
 */
void
history_read(ReportData *data)
{
	ReportHistory *trends;
	char	   *run_ids;
	int			ntrends;
	int			left = 0;
	Reader		reader;

	reader_open(&reader, NULL);
	ntrends = read_trends(&reader, data, &trends, &run_ids);
	data->histories = palloc0(sizeof(ReportHistory) * HISTORIES_MAX);
	for (int rank = 0; rank <= 2; rank++)
		for (int i = 0; i < data->nlatencies; i++)
			histories_add(data, &data->latencies[i], trends, ntrends, rank);
	if (data->nhistories > 0)
		read_values(&reader, data, run_ids);
	reader_close(&reader);
	for (int i = 0; i < data->nhistories; i++)
		if (data->histories[i].n > 0 && data->histories[i].run_ids[0] < data->run_id)
			data->histories[left++] = data->histories[i];
	data->nhistories = left;
}

/* Returns the id of the latest run of this database that the caller may read; ERROR if there was none. */
int64
report_latest(void)
{
	Reader		reader;
	int64		id;

	reader_open(&reader, NULL);
	if (reader_query(&reader, "SELECT id FROM @.pool_exhaust_runs r WHERE $1 = 0 AND " MAY_READ " ORDER BY id DESC LIMIT 1", 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there was no run in this database yet that you may read"),
				 errhint("Start one: SELECT pool_exhaust_run('saturation').")));
	id = pg_strtoint64(statement_text(0, 1));
	reader_close(&reader);
	return id;
}

/*
 * Returns whether the run has a verdict, or will not get one; it goes to "verdict",
 * palloc'd in the current memory context.  ERROR if there is no such run.
 */
bool
report_verdict(int64 run_id, char **verdict)
{
	Reader		reader;

	reader_open(&reader, end_if_lost(run_id));
	require_run(reader_query(&reader, "SELECT coalesce(verdict, $2) FROM @.pool_exhaust_runs WHERE id = $1", run_id),
				run_id);
	*verdict = reader_text(0, 1);
	reader_close(&reader);
	return (*verdict)[0] != '\0';
}

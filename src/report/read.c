/*
 * read.c
 *		Reads the results of a run from the tables.
 *
 * A role that may call the functions may read the report, so the tables are read
 * as the owner of the extension; and with a snapshot of this moment, because the
 * run has ended after the caller's statement began.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "report/report.h"
#include "request/extension.h"

typedef struct Reader
{
	Extension	extension;
	MemoryContext context;		/* that the results go to */
	Oid			user;
	int			sec_context;
	int			guc_level;
} Reader;

/*
 * The lock keeps the tables where they are; if they were being dropped, it is
 * granted when they are gone, so the extension is read again.  The owner is a
 * superuser as a rule, so nothing of the caller's may decide which object a name
 * stands for.  After an ERROR the end of the transaction restores everything.
 */
static void
reader_open(Reader *reader)
{
	reader->context = CurrentMemoryContext;
	extension_require_current(&reader->extension);
	LockDatabaseObject(ExtensionRelationId, reader->extension.oid, 0, AccessShareLock);
	extension_require_current(&reader->extension);
	GetUserIdAndSecContext(&reader->user, &reader->sec_context);
	SetUserIdAndSecContext(reader->extension.owner,
						   reader->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	reader->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* Numbers in JSON have as many digits as restore them. */
	(void) set_config_option("extra_float_digits", "1", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
}

static void
reader_close(Reader *reader)
{
	SPI_finish();
	PopActiveSnapshot();
	AtEOXact_GUC(false, reader->guc_level);
	SetUserIdAndSecContext(reader->user, reader->sec_context);
}

/*
 * Each "%s" in the query, two at most, stands for the schema, $1 for the run.
 * Returns how many rows there are; their texts go to the caller's memory.
 */
static int
reader_query(Reader *reader, const char *query, int64 run_id)
{
	const char *schema = reader->extension.schema;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run_id)};

	if (SPI_execute_with_args(psprintf(query, schema, schema), 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the results of a run");
	MemoryContextSwitchTo(reader->context);
	return (int) SPI_processed;
}

/* A field of the last result of type float8, which no setting of the caller's rounds; 0 for NULL. */
static double
reader_number(int row, int column)
{
	bool		isnull;
	Datum		number = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetFloat8(number);
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

/* JSON has no number for the infinite time of what never happened. */
static void
read_run(Reader *reader, ReportData *data)
{
	require_run(reader_query(reader,
							 "SELECT scenario, target, verdict, reason, "
							 "(summary->>'elapsed_ms')::float8 / 1000, (summary->>'capacity')::float8, "
							 "pg_catalog.to_jsonb(r) - 'id' || pg_catalog.jsonb_build_object('run_id', id, 'checks', "
							 "coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) - 'run_id' || "
							 "pg_catalog.jsonb_build_object('observed_num', nullif(observed_num, 'Infinity')) ORDER BY seq) "
							 "FROM %s.pool_exhaust_checks c WHERE run_id = $1), '[]')) "
							 "FROM %s.pool_exhaust_runs r WHERE id = $1", data->run_id), data->run_id);
	data->scenario = spi_text(0, 1);
	data->target = spi_text(0, 2);
	data->verdict = spi_text(0, 3);
	data->reason = spi_text(0, 4);
	data->elapsed_s = reader_number(0, 5);
	data->capacity = (int) reader_number(0, 6);
	data->json = spi_text(0, 7);
}

static void
read_phases(Reader *reader, ReportData *data)
{
	data->nphases = reader_query(reader,
								 "SELECT p->>'phase', p->>'note' FROM %s.pool_exhaust_runs, "
								 "pg_catalog.jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n) "
								 "WHERE id = $1 ORDER BY n", data->run_id);
	data->phases = palloc0(sizeof(ReportPhase) * data->nphases);
	for (int i = 0; i < data->nphases; i++)
		data->phases[i] = (ReportPhase) {spi_text(i, 1), spi_text(i, 2)};
}

static void
read_checks(Reader *reader, ReportData *data)
{
	data->nchecks = reader_query(reader,
								 "SELECT name, outcome, expected, observed, unit, detail, "
								 "operator, expected_num, tolerance, observed_num "
								 "FROM %s.pool_exhaust_checks WHERE run_id = $1 ORDER BY seq", data->run_id);
	data->checks = palloc0(sizeof(ReportCheck) * data->nchecks);
	for (int i = 0; i < data->nchecks; i++)
		data->checks[i] = (ReportCheck)
		{
			.name = spi_text(i, 1),
			.outcome = spi_text(i, 2),
			.expected = spi_text(i, 3),
			.observed = spi_text(i, 4),
			.unit = spi_text(i, 5),
			.detail = spi_text(i, 6),
			.comparison = {
				.operator = operator_find(spi_text(i, 7)),
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
								  "SELECT extract(epoch FROM at - min(at) OVER ())::float8, in_use::float8 "
								  "FROM %s.pool_exhaust_samples WHERE run_id = $1 ORDER BY at", data->run_id);
	data->samples = palloc0(sizeof(ReportSample) * data->nsamples);
	for (int i = 0; i < data->nsamples; i++)
		data->samples[i] = (ReportSample) {reader_number(i, 1), (int) reader_number(i, 2)};
}

/*
 * Returns the results of a run, palloc'd in the current memory context.  ERROR if
 * there is no such run, or the extension has another version than the library.
 */
ReportData *
report_read(int64 run_id)
{
	ReportData *data = palloc0(sizeof(ReportData));
	Reader		reader;

	data->run_id = run_id;
	reader_open(&reader);
	read_run(&reader, data);
	read_phases(&reader, data);
	read_checks(&reader, data);
	read_samples(&reader, data);
	reader_close(&reader);
	return data;
}

/* Returns the id of the latest run of this database; ERROR if there was none. */
int64
report_latest(void)
{
	Reader		reader;
	int64		id;

	reader_open(&reader);
	if (reader_query(&reader, "SELECT id FROM %s.pool_exhaust_runs WHERE $1 = 0 ORDER BY id DESC LIMIT 1", 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there was no run in this database yet"),
				 errhint("Start one: SELECT pool_exhaust_run('saturation').")));
	id = pg_strtoint64(spi_text(0, 1));
	reader_close(&reader);
	return id;
}

/*
 * Returns whether the run has a verdict, which goes to "verdict", palloc'd in the
 * current memory context.  ERROR if there is no such run.
 */
bool
report_verdict(int64 run_id, char **verdict)
{
	Reader		reader;

	reader_open(&reader);
	require_run(reader_query(&reader, "SELECT verdict FROM %s.pool_exhaust_runs WHERE id = $1", run_id),
				run_id);
	*verdict = spi_text(0, 1);
	reader_close(&reader);
	return (*verdict)[0] != '\0';
}

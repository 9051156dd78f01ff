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

/* "%s" in the query stands for the schema, $1 for the run.  Returns how many rows there are. */
static int
reader_query(Reader *reader, const char *query, int64 run_id)
{
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(run_id)};
	StringInfoData sql;

	initStringInfo(&sql);
	for (const char *p = query; *p != '\0'; p++)
	{
		if (strncmp(p, "%s", 2) == 0)
		{
			appendStringInfoString(&sql, reader->extension.schema);
			p++;
		}
		else
			appendStringInfoChar(&sql, *p);
	}
	if (SPI_execute_with_args(sql.data, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the results of a run");
	return (int) SPI_processed;
}

/* A field of the last result, "" for NULL, in the caller's memory.  Columns count from 1. */
static char *
reader_text(const Reader *reader, int row, int column)
{
	return MemoryContextStrdup(reader->context, spi_text(row, column));
}

/* The same of type float8, which no setting of the caller's rounds; 0 for NULL. */
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

static void
read_run(Reader *reader, ReportData *data)
{
	require_run(reader_query(reader,
							 "SELECT scenario, target, verdict, reason, seed, server_version, extension_version, "
							 "(summary->>'elapsed_ms')::float8 / 1000, (summary->>'capacity')::float8, options, summary, "
							 "pg_catalog.to_json(started_at), pg_catalog.to_json(finished_at) "
							 "FROM %s.pool_exhaust_runs WHERE id = $1", data->run_id), data->run_id);
	data->scenario = reader_text(reader, 0, 1);
	data->target = reader_text(reader, 0, 2);
	data->verdict = reader_text(reader, 0, 3);
	data->reason = reader_text(reader, 0, 4);
	data->seed = reader_text(reader, 0, 5);
	data->server_version = reader_text(reader, 0, 6);
	data->extension_version = reader_text(reader, 0, 7);
	data->elapsed_s = reader_number(0, 8);
	data->capacity = (int) reader_number(0, 9);
	data->options = reader_text(reader, 0, 10);
	data->summary = reader_text(reader, 0, 11);
	data->started_at = reader_text(reader, 0, 12);
	data->finished_at = reader_text(reader, 0, 13);
}

static void
read_phases(Reader *reader, ReportData *data)
{
	data->nphases = reader_query(reader,
								 "SELECT p->>'phase', p->>'note' FROM %s.pool_exhaust_runs, "
								 "pg_catalog.jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n) "
								 "WHERE id = $1 ORDER BY n", data->run_id);
	data->phases = MemoryContextAllocZero(reader->context, sizeof(ReportPhase) * Max(data->nphases, 1));
	for (int i = 0; i < data->nphases; i++)
		data->phases[i] = (ReportPhase) {reader_text(reader, i, 1), reader_text(reader, i, 2)};
}

static void
read_checks(Reader *reader, ReportData *data)
{
	data->nchecks = reader_query(reader,
								 "SELECT phase, name, outcome, expected, observed, unit, detail, "
								 "operator, expected_num, tolerance, observed_num "
								 "FROM %s.pool_exhaust_checks WHERE run_id = $1 ORDER BY seq", data->run_id);
	data->checks = MemoryContextAllocZero(reader->context, sizeof(ReportCheck) * Max(data->nchecks, 1));
	for (int i = 0; i < data->nchecks; i++)
		data->checks[i] = (ReportCheck)
		{
			.phase = reader_text(reader, i, 1),
			.name = reader_text(reader, i, 2),
			.outcome = reader_text(reader, i, 3),
			.expected = reader_text(reader, i, 4),
			.observed = reader_text(reader, i, 5),
			.unit = reader_text(reader, i, 6),
			.detail = reader_text(reader, i, 7),
			.comparison = {
				.operator = operator_find(spi_text(i, 8)),
				.expected = reader_number(i, 9),
				.tolerance = reader_number(i, 10),
				.observed = reader_number(i, 11),
			},
		};
}

static void
read_samples(Reader *reader, ReportData *data)
{
	data->nsamples = reader_query(reader,
								  "SELECT extract(epoch FROM at - min(at) OVER ())::float8, in_use::float8 "
								  "FROM %s.pool_exhaust_samples WHERE run_id = $1 ORDER BY at", data->run_id);
	data->samples = MemoryContextAllocZero(reader->context, sizeof(ReportSample) * Max(data->nsamples, 1));
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
	*verdict = reader_text(&reader, 0, 1);
	reader_close(&reader);
	return (*verdict)[0] != '\0';
}

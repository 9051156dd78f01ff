/*
 * report.c
 *		What a run found, for eyes and for machines, read from the tables.
 *
 * Who may call the functions may read the report, so the tables are read as
 * the owner of the extension; and with a snapshot of this moment, because the
 * run has ended after the caller's statement began.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "report/report.h"
#include "request/extension.h"

#define NAME_WIDTH		34
#define SPARK_WIDTH		40
#define SAME_WIDTH		12		/* longer texts are shown once if they are equal */

static const char *const format_names[] = {
	[REPORT_TEXT] = "text",
	[REPORT_JSON] = "json",
	[REPORT_TAP] = "tap",
};

typedef struct Reader
{
	Extension	extension;
	Oid			user;
	int			sec_context;
	int			guc_level;
} Reader;

/* Returns the format of that name; ERROR with the list if there is none. */
ReportFormat
report_format_find(const char *name)
{
	for (int i = 0; i < lengthof(format_names); i++)
		if (strcmp(format_names[i], name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("format \"%s\" does not exist", name),
			 errhint("Formats are: text, json, tap.")));
}

/*
 * The lock keeps the tables where they are; if somebody was dropping them, it
 * comes when they are gone, so look again.  The owner is a superuser as a rule,
 * so the caller must not decide what is found by name.  An ERROR in between is
 * put right by the end of the transaction.
 */
static void
reader_open(Reader *reader)
{
	extension_require(&reader->extension);
	LockDatabaseObject(ExtensionRelationId, reader->extension.oid, 0, AccessShareLock);
	extension_require(&reader->extension);
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

/* "%s" in the query stands for the schema, $1 for the run; returns the rows. */
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

static void
put_line(ReturnSetInfo *rsinfo, const char *line)
{
	Datum		values[] = {CStringGetTextDatum(line)};
	bool		nulls[] = {false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void put_format(ReturnSetInfo *rsinfo, const char *fmt,...) pg_attribute_printf(2, 3);

static void
put_format(ReturnSetInfo *rsinfo, const char *fmt,...)
{
	char		line[2048];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	put_line(rsinfo, line);
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

static char *
in_capitals(const char *word)
{
	char	   *text = pstrdup(word);

	for (char *p = text; *p != '\0'; p++)
		*p = pg_toupper((unsigned char) *p);
	return text;
}

/* "PASS    saturation on server    12 of 12 checks    0.42 s    run 7" */
static void
text_headline(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	char	   *what;

	require_run(reader_query(reader,
							 "SELECT coalesce(verdict, 'running'), scenario, target, "
							 "coalesce((summary->>'elapsed_ms')::float8 / 1000, 0)::numeric(12,2), "
							 "coalesce(reason, ''), "
							 "(SELECT count(*) FROM %s.pool_exhaust_checks WHERE run_id = $1 AND outcome = 'pass'), "
							 "(SELECT count(*) FROM %s.pool_exhaust_checks WHERE run_id = $1 AND outcome <> 'skip') "
							 "FROM %s.pool_exhaust_runs WHERE id = $1", run_id), run_id);
	what = psprintf("%s on %s", spi_text(0, 2), spi_text(0, 3));
	put_format(rsinfo, "%-7s %-26s %s of %s checks      %s s      run " INT64_FORMAT,
			   in_capitals(spi_text(0, 1)), what, spi_text(0, 6), spi_text(0, 7),
			   spi_text(0, 4), run_id);
	if (spi_text(0, 5)[0] != '\0')
		put_format(rsinfo, "        %s", spi_text(0, 5));
}

static void
text_phases(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	int			rows = reader_query(reader,
									"SELECT p->>'phase', p->>'note' FROM %s.pool_exhaust_runs, "
									"pg_catalog.jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n) "
									"WHERE id = $1 AND p->>'note' <> '' ORDER BY n", run_id);

	for (int i = 0; i < rows; i++)
		put_format(rsinfo, "%-9s %s", spi_text(i, 1), spi_text(i, 2));
}

static const char *
with_unit(const char *value, const char *unit)
{
	return unit[0] != '\0' ? psprintf("%s %s", value, unit) : value;
}

static void
text_checks(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	int			rows = reader_query(reader,
									"SELECT outcome, name, expected, observed, unit, detail "
									"FROM %s.pool_exhaust_checks WHERE run_id = $1 ORDER BY seq", run_id);

	for (int i = 0; i < rows; i++)
	{
		const char *outcome = spi_text(i, 1);
		const char *expected = with_unit(spi_text(i, 3), spi_text(i, 5));
		const char *observed = with_unit(spi_text(i, 4), spi_text(i, 5));
		const char *detail = spi_text(i, 6);

		if (strcmp(outcome, "fail") == 0)
		{
			put_format(rsinfo, "FAIL  %-*s expected %s, observed %s",
					   NAME_WIDTH, spi_text(i, 2), expected, observed);
			put_format(rsinfo, "      %s", detail);
		}
		else if (strcmp(outcome, "skip") == 0)
			put_format(rsinfo, "skip  %-*s %s", NAME_WIDTH, spi_text(i, 2), detail);
		else if (detail[0] != '\0')
			put_format(rsinfo, "ok    %-*s %s   %s", NAME_WIDTH, spi_text(i, 2), observed, detail);
		else if (strcmp(expected, observed) != 0)
			put_format(rsinfo, "ok    %-*s %s   (%s)", NAME_WIDTH, spi_text(i, 2), observed, expected);
		else if (strlen(expected) > SAME_WIDTH)
			put_format(rsinfo, "ok    %-*s %s", NAME_WIDTH, spi_text(i, 2), observed);
		else
			put_format(rsinfo, "ok    %-*s %s = %s", NAME_WIDTH, spi_text(i, 2), expected, observed);
	}
}

/* The shape of it: the highest utilization of each slice of the run. */
static void
text_sparkline(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const ascii[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
	const char *const *ramp = GetDatabaseEncoding() == PG_UTF8 ? blocks : ascii;
	StringInfoData line;
	double		peak = 0;
	int			rows = reader_query(reader,
									"SELECT max(in_use)::float8 / nullif(max((r.summary->>'capacity')::int), 0) "
									"FROM (SELECT in_use, run_id, extract(epoch FROM at - min(at) OVER ())::float8 AS t, "
									"extract(epoch FROM max(at) OVER () - min(at) OVER ())::float8 AS span "
									"FROM %s.pool_exhaust_samples WHERE run_id = $1) s "
									"JOIN %s.pool_exhaust_runs r ON r.id = s.run_id "
									"GROUP BY floor(t * 39.999 / greatest(span, 1e-9)) "
									"ORDER BY floor(t * 39.999 / greatest(span, 1e-9))", run_id);

	if (rows == 0)
		return;
	initStringInfo(&line);
	for (int i = 0; i < Min(rows, SPARK_WIDTH); i++)
	{
		double		utilization = strtod(spi_text(i, 1), NULL);

		peak = Max(peak, utilization);
		appendStringInfoString(&line, ramp[Min((int) (Min(utilization, 1.0) * lengthof(blocks)),
											   (int) lengthof(blocks) - 1)]);
	}
	put_format(rsinfo, "utilization %s  peak %.0f %%", line.data, 100 * peak);
}

static void
put_text(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	text_headline(reader, rsinfo, run_id);
	text_phases(reader, rsinfo, run_id);
	text_checks(reader, rsinfo, run_id);
	text_sparkline(reader, rsinfo, run_id);
}

static void
put_json(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	require_run(reader_query(reader,
							 "SELECT pg_catalog.jsonb_build_object("
							 "'run_id', id, 'scenario', scenario, 'target', target, 'verdict', verdict, "
							 "'reason', reason, 'options', options, 'seed', seed, "
							 "'started_at', started_at, 'finished_at', finished_at, "
							 "'server_version', server_version, 'extension_version', extension_version, "
							 "'summary', summary, 'checks', coalesce((SELECT "
							 "pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) - 'run_id' ORDER BY c.seq) "
							 "FROM %s.pool_exhaust_checks c WHERE c.run_id = $1), '[]'))::text "
							 "FROM %s.pool_exhaust_runs WHERE id = $1", run_id), run_id);
	put_line(rsinfo, spi_text(0, 1));
}

/* What comes from a server must not be read as TAP: no '#' and no line feed. */
static char *
tap_safe(const char *text)
{
	char	   *safe = pstrdup(text);

	for (char *p = safe; *p != '\0'; p++)
		if (*p == '#' || *p == '\n' || *p == '\r')
			*p = ' ';
	return safe;
}

static void
put_tap(Reader *reader, ReturnSetInfo *rsinfo, int64 run_id)
{
	char	   *verdict;
	char	   *reason;
	char	   *title;
	int			rows;

	require_run(reader_query(reader,
							 "SELECT coalesce(verdict, 'running'), coalesce(reason, ''), "
							 "scenario || ' on ' || target || ', run ' || id "
							 "FROM %s.pool_exhaust_runs WHERE id = $1", run_id), run_id);
	verdict = pstrdup(spi_text(0, 1));
	reason = tap_safe(spi_text(0, 2));
	title = tap_safe(spi_text(0, 3));

	rows = reader_query(reader,
						"SELECT outcome, name, expected, observed, unit, detail "
						"FROM %s.pool_exhaust_checks WHERE run_id = $1 ORDER BY seq", run_id);
	put_format(rsinfo, "1..%d", rows + 1);
	put_format(rsinfo, "# %s", title);
	for (int i = 0; i < rows; i++)
	{
		const char *outcome = spi_text(i, 1);
		bool		failed = strcmp(outcome, "fail") == 0;

		if (strcmp(outcome, "skip") == 0)
		{
			put_format(rsinfo, "ok %d - %s # SKIP %s", i + 1, spi_text(i, 2), tap_safe(spi_text(i, 6)));
			continue;
		}
		put_format(rsinfo, "%s %d - %s", failed ? "not ok" : "ok", i + 1, spi_text(i, 2));
		if (failed)
		{
			put_format(rsinfo, "#   expected: %s", tap_safe(with_unit(spi_text(i, 3), spi_text(i, 5))));
			put_format(rsinfo, "#   observed: %s", tap_safe(with_unit(spi_text(i, 4), spi_text(i, 5))));
			put_format(rsinfo, "#   %s", tap_safe(spi_text(i, 6)));
		}
	}
	put_format(rsinfo, "%s %d - verdict is pass", strcmp(verdict, "pass") == 0 ? "ok" : "not ok", rows + 1);
	if (strcmp(verdict, "pass") != 0)
		put_format(rsinfo, "#   verdict: %s%s%s", verdict, reason[0] ? ", " : "", reason);
}

/* Puts the report of a run into the result set, a line a row. */
void
report_put(ReturnSetInfo *rsinfo, int64 run_id, ReportFormat format)
{
	static void (*const writers[]) (Reader *, ReturnSetInfo *, int64) = {
		[REPORT_TEXT] = put_text,
		[REPORT_JSON] = put_json,
		[REPORT_TAP] = put_tap,
	};
	Reader		reader;

	reader_open(&reader);
	writers[format] (&reader, rsinfo, run_id);
	reader_close(&reader);
}

/* Returns the id of the latest run; ERROR if there was none. */
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
 * Returns whether the run has a verdict, which goes to "verdict" in the
 * caller's memory context.  ERROR if there is no such run.
 */
bool
report_verdict(int64 run_id, char **verdict)
{
	MemoryContext context = CurrentMemoryContext;
	Reader		reader;

	reader_open(&reader);
	require_run(reader_query(&reader, "SELECT verdict FROM %s.pool_exhaust_runs WHERE id = $1", run_id),
				run_id);
	*verdict = MemoryContextStrdup(context, spi_text(0, 1));
	reader_close(&reader);
	return (*verdict)[0] != '\0';
}

/* Returns the checks that failed a run, or why it has another verdict, for an error. */
char *
report_failures(int64 run_id)
{
	MemoryContext context = CurrentMemoryContext;
	Reader		reader;
	char	   *text;

	reader_open(&reader);
	require_run(reader_query(&reader,
							 "SELECT CASE WHEN verdict = 'fail' THEN coalesce((SELECT pg_catalog.string_agg("
							 "name || ': expected ' || expected || ', observed ' || observed, '; ' ORDER BY seq) "
							 "FROM %s.pool_exhaust_checks WHERE run_id = $1 AND outcome = 'fail'), reason, '') "
							 "ELSE coalesce(reason, '') END FROM %s.pool_exhaust_runs WHERE id = $1", run_id), run_id);
	text = MemoryContextStrdup(context, spi_text(0, 1));
	reader_close(&reader);
	return text;
}

/*
 * report.c
 *		What a run found, for eyes and for machines: the formats, and the words
 *		that they share.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "report/compare.h"
#include "report/report.h"
#include "report/svg.h"

#define REPORT_FORMAT_ADDRESS(name) &report_format_##name,

static const ReportFormat *const formats[] = {
	REPORT_FORMATS(REPORT_FORMAT_ADDRESS)
};

/* What a format is asked for, and which of them have it. */
typedef struct FormatUse
{
	const char *what;			/* NULL: all have it */
	bool		(*fits) (const ReportFormat *format);
} FormatUse;

static bool
fits_run(const ReportFormat *format)
{
	return true;
}

static bool
fits_comparison(const ReportFormat *format)
{
	return format->compare != NULL;
}

static bool
fits_document(const ReportFormat *format)
{
	return !format->measured;
}

static const FormatUse use_run = {NULL, fits_run};
static const FormatUse use_comparison = {"comparisons of runs", fits_comparison};
static const FormatUse use_document = {"what no run has measured", fits_document};

static char *
formats_list(const FormatUse *use)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(formats); i++)
		if (use->fits(formats[i]))
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", formats[i]->name);
	return list.data;
}

static const ReportFormat *
format_find(const char *name, const FormatUse *use)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->name, name) == 0 && use->fits(formats[i]))
			return formats[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 use->what != NULL ? errmsg("there is no format \"%s\" for %s", name, use->what) : errmsg("format \"%s\" does not exist", name),
			 errhint("Formats are: %s.", formats_list(use))));
}

/* Returns the format of that name; ERROR with the list if there is none. */
const ReportFormat *
report_format_find(const char *name)
{
	const ReportFormat *chart = svg_format_find(name);

	return chart != NULL ? chart : format_find(name, &use_run);
}

/* The same of those that compare runs. */
const ReportFormat *
compare_format_find(const char *name)
{
	return format_find(name, &use_comparison);
}

/* The same of those that can write a document that no run has made. */
const ReportFormat *
document_format_find(const char *name)
{
	return format_find(name, &use_document);
}

static void
put_line(ReturnSetInfo *rsinfo, const char *line, int length)
{
	Datum		values[] = {PointerGetDatum(cstring_to_text_with_len(line, length))};
	bool		nulls[] = {false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Puts a text into the result set, a line a row. */
static void
put_lines(ReturnSetInfo *rsinfo, const char *text)
{
	for (const char *line = text; *line != '\0';)
	{
		int			length = (int) strcspn(line, "\n");

		put_line(rsinfo, line, length);
		line += length + (line[length] == '\n');
	}
}

/*
 * Puts the report of a run into the result set, a line a row; "end" is NULL, or as the
 * caller knows it.  ERROR if there is no such run, the caller may not read it, or the
 * extension has another version than the library.
 */
void
report_put(ReturnSetInfo *rsinfo, int64 run_id, const ReportEnd *end, const ReportFormat *format)
{
	ReportData *run = report_read(run_id, end, format->parts);

	if (format->history && run->nparts == 0)
		history_read(run);
	report_put_document(rsinfo, run, format);
}

/* The same of a run that was read, or of a document that no run has made. */
void
report_put_document(ReturnSetInfo *rsinfo, const ReportData *document, const ReportFormat *format)
{
	StringInfoData out;

	initStringInfo(&out);
	if (format->write != NULL)
		format->write(document, &out);
	else
		format->write_several(&document, 1, &out);
	put_lines(rsinfo, out.data);
}

/* Is the run shown as a part of another? */
static bool
is_part(const ReportData *run, const ReportData *const *runs, int n)
{
	for (int i = 0; i < n && run->nparts == 0; i++)
		for (int j = 0; j < runs[i]->nparts; j++)
			if (runs[i]->parts[j]->run_id == run->run_id)
				return true;
	return false;
}

/* Reads runs, without those that are parts of others; returns how many. */
static int
read_several(const int64 *run_ids, int n, bool parts, const ReportData **runs)
{
	const ReportData **all = palloc(sizeof(ReportData *) * n);
	int			left = 0;

	for (int i = 0; i < n; i++)
		all[i] = report_read(run_ids[i], NULL, parts);
	for (int i = 0; i < n; i++)
		if (!is_part(all[i], all, n))
			runs[left++] = all[i];
	return left;
}

/* The same for several runs, in one document, each once. */
void
report_put_several(ReturnSetInfo *rsinfo, const int64 *run_ids, int n, const ReportFormat *format)
{
	const ReportData **runs = palloc(sizeof(ReportData *) * n);
	StringInfoData out;

	n = read_several(run_ids, n, format->parts, runs);
	initStringInfo(&out);
	for (int i = 0; i < n && format->write_several == NULL; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, '\n');
		format->write(runs[i], &out);
	}
	if (format->write_several != NULL)
		format->write_several(runs, n, &out);
	put_lines(rsinfo, out.data);
}

/* Puts two runs of one scenario side by side into the result set; the format compares. */
void
compare_put(ReturnSetInfo *rsinfo, const ReportData *base, const ReportData *candidate, const ReportFormat *format)
{
	StringInfoData out;

	initStringInfo(&out);
	format->compare(runs_compare(base, candidate), &out);
	put_lines(rsinfo, out.data);
}

/* Returns the checks that failed a run, or why it has another verdict, for an error; palloc'd. */
char *
report_failures(int64 run_id, const ReportEnd *end)
{
	return document_failures(report_read(run_id, end, false));
}

/* The same of a run that was read, or of a document that no run has made. */
char *
document_failures(const ReportData *data)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; strcmp(data->verdict, "fail") == 0 && i < data->nchecks; i++)
	{
		const ReportCheck *check = &data->checks[i];

		if (check_is(check, "fail"))
			appendStringInfo(&text, "%s%s: expected %s, observed %s", text.len > 0 ? "; " : "",
							 check->name, expected_text(check), observed_text(check));
	}
	return text.len > 0 ? text.data : data->reason;
}

/* ---------- What writers share ---------- */

/* Returns the verdict, "running" while there is none. */
const char *
verdict_text(const ReportData *run)
{
	return run->verdict[0] != '\0' ? run->verdict : "running";
}

/* Returns "saturation on server, run 7", or "budget on server" of what no run has made; palloc'd. */
char *
run_text(const ReportData *run)
{
	char	   *text = psprintf("%s on %s", run->scenario, run->target);

	return run->run_id == 0 ? text : psprintf("%s, run " INT64_FORMAT, text, run->run_id);
}

/* How many checks have passed, and how many there are without those that were skipped. */
void
checks_count(const ReportData *run, int *passed, int *tried)
{
	*passed = *tried = 0;
	for (int i = 0; i < run->nchecks; i++)
	{
		*passed += check_is(&run->checks[i], "pass");
		*tried += !check_is(&run->checks[i], "skip");
	}
}

/* Has it that outcome: pass, fail or skip? */
bool
check_is(const ReportCheck *check, const char *outcome)
{
	return strcmp(check->outcome, outcome) == 0;
}

static char *
with_unit(char *value, const char *unit)
{
	return unit[0] != '\0' ? psprintf("%s %s", value, unit) : value;
}

/* Returns what was expected, with its unit, like "<= 5 ms"; palloc'd, or the check's. */
char *
expected_text(const ReportCheck *check)
{
	return with_unit(check->comparison.operator != OPERATOR_NONE
					 ? comparison_expected(&check->comparison) : check->expected, check->unit);
}

/* Returns what was observed, with its unit; palloc'd, or the check's. */
char *
observed_text(const ReportCheck *check)
{
	const Comparison *c = &check->comparison;

	if (c->operator == OPERATOR_NONE)
		return with_unit(check->observed, check->unit);
	return with_unit(comparison_observed(c), isinf(c->observed) ? "" : check->unit);
}

/*
 * html.c
 *		Report format html: a page with the verdict, the checks, the charts, and
 *		what the run was.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "base/markup.h"
#include "base/text.h"
#include "plot/page.h"
#include "plot/table.h"
#include "report/chart/chart.h"
#include "report/compare.h"
#include "report/format.h"

/* ---------- The verdict ---------- */

/* Returns "12 of 13 checks passed, 0.78 s, run 7, begun ...", without a run if none has made it. */
static char *
facts_text(const ReportData *data)
{
	int			passed;
	int			tried;

	checks_count(data, &passed, &tried);
	return psprintf("%d of %d checks passed, %s s%s, begun %s", passed, tried, number_text(data->elapsed_s),
					data->run_id == 0 ? "" : psprintf(", run " INT64_FORMAT, data->run_id), data->started_at);
}

static void
html_verdict(const ReportData *data, int level, StringInfo out)
{
	page_heading(out, level, psprintf("%s on %s", data->scenario, data->target));
	appendStringInfoString(out, "<p>");
	page_badge(out, verdict_text(data));
	appendStringInfoString(out, "</p>\n");
	if (data->reason[0] != '\0')
	{
		appendStringInfoString(out, "<p class=\"reason ");
		markup_text(out, verdict_text(data));
		appendStringInfoString(out, "\">");
		markup_text(out, data->reason);
		appendStringInfoString(out, "</p>\n");
	}
	appendStringInfoString(out, "<p class=\"muted\">");
	markup_text(out, facts_text(data));
	appendStringInfoString(out, "</p>\n");
}

/* ---------- The checks ---------- */

/* What a failure means stands below the name of the check. */
static void
html_check(const ReportCheck *check, StringInfo out)
{
	bool		skipped = check_is(check, "skip");

	appendStringInfoString(out, "<tr class=\"");
	markup_text(out, check->outcome);
	appendStringInfoString(out, "\"><td>");
	page_badge(out, check->outcome);
	appendStringInfoString(out, "</td><th scope=\"row\">");
	markup_text(out, check->name);
	appendStringInfoString(out, "</th>");
	table_named_text(out, "phase", check->phase);
	table_named_text(out, "expected", skipped ? "" : expected_text(check));
	table_named_text(out, "observed", skipped ? "" : observed_text(check));
	table_named_text(out, "meaning", check->detail);
	appendStringInfoString(out, "</tr>\n");
}

/* Those that failed come first. */
static void
html_checks(const ReportData *data, int level, StringInfo out)
{
	page_heading(out, level, "Checks");
	if (data->nchecks == 0)
	{
		appendStringInfoString(out, "<p>There are none.</p>\n");
		return;
	}
	appendStringInfoString(out, "<table class=\"checks\">\n<thead><tr><th scope=\"col\">outcome</th><th scope=\"col\">check</th>"
						   "<th scope=\"col\">phase</th><th scope=\"col\">expected</th><th scope=\"col\">observed</th>"
						   "<th scope=\"col\">what it means, and what to check next</th></tr></thead>\n<tbody>\n");
	for (int i = 0; i < data->nchecks; i++)
		if (check_is(&data->checks[i], "fail"))
			html_check(&data->checks[i], out);
	for (int i = 0; i < data->nchecks; i++)
		if (!check_is(&data->checks[i], "fail"))
			html_check(&data->checks[i], out);
	table_end(out);
}

/* ---------- The charts ---------- */

static void
html_charts(const ReportData *data, int level, StringInfo out)
{
	int			drawn = 0;

	page_heading(out, level, "Charts");
	appendStringInfoString(out, "<div class=\"charts\">\n");
	for (int i = 0; i < nreport_charts; i++)
	{
		Plot	   *plot = report_chart_plot(report_charts[i], data, false);

		if (plot == NULL)
			continue;
		plot_figure(plot, out);
		drawn++;
	}
	appendStringInfo(out, "%s</div>\n", drawn == 0 ? "<p>Nothing of the run was measured over time.</p>\n" : "");
}

static void
html_history(const ReportData *data, int level, StringInfo out)
{
	if (data->nhistories == 0)
		return;
	page_heading(out, level, "History");
	appendStringInfoString(out, "<p>Up to 25 runs of this scenario and target in this environment, and up to 8 metrics, those that have changed first. "
						   "View pool_exhaust_trends has all metrics.</p>\n<div class=\"charts\">\n");
	for (int i = 0; i < data->nhistories; i++)
		plot_figure(chart_history(data, i), out);
	appendStringInfoString(out, "</div>\n");
}

/* ---------- What the run was ---------- */

static void
html_phases(const ReportData *data, int level, StringInfo out)
{
	const char *columns[] = {"phase", "seconds", "what happened"};

	if (data->nphases == 0)
		return;
	page_heading(out, level, "Phases");
	table_begin(out, "The steps of the run in their order", lengthof(columns), columns);
	for (int i = 0; i < data->nphases; i++)
	{
		const ReportPhase *phase = &data->phases[i];

		if (phase->elapsed_s <= 0 && phase->note[0] == '\0')
			continue;
		table_row(out, phase->name);
		table_number(out, phase->elapsed_s);
		table_text(out, phase->note);
		table_row_end(out);
	}
	table_end(out);
}

static void
html_options(const ReportData *data, int level, StringInfo out)
{
	const char *columns[] = {"option", "value", "changed"};

	if (data->noptions == 0)
		return;
	page_heading(out, level, "Options");
	table_begin(out, "In force; those that differ from the default of the profile are marked", lengthof(columns), columns);
	for (int i = 0; i < data->noptions; i++)
	{
		const ReportOption *option = &data->options[i];

		table_row(out, option->name);
		table_text(out, option->value);
		appendStringInfoString(out, option->changed ? "<td><strong>changed</strong></td>" : "<td></td>");
		table_row_end(out);
	}
	table_end(out);
}

/* Returns what a value of JSON reads, palloc'd. */
static char *
value_text(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "yes" : "no");
		case jbvBinary:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			return pstrdup("");
	}
}

/* A row for each member of a JSON object; none for "". */
static void
html_members(const char *json, StringInfo out)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	Jsonb	   *jsonb;

	if (json[0] == '\0')
		return;
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			table_row(out, pnstrdup(value.val.string.val, value.val.string.len));
		else if (token == WJB_VALUE)
		{
			table_text(out, value_text(&value));
			table_row_end(out);
		}
	}
}

static void
html_environment(const ReportData *data, int level, StringInfo out)
{
	const char *columns[] = {"what", "value"};

	page_heading(out, level, "Environment");
	table_begin(out, "Where it ran, and how fast that machine was", lengthof(columns), columns);
	table_row(out, "PostgreSQL");
	table_text(out, data->server_version);
	table_row_end(out);
	table_row(out, "pool_exhaust");
	table_text(out, data->extension_version);
	table_row_end(out);
	html_members(data->environment, out);
	html_members(data->calibration, out);
	table_end(out);
}

/* Returns the options that make another run the same, as a JSON object; palloc'd. */
static char *
repeat_options(const ReportData *data)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"seed\": %s", data->seed[0] != '\0' ? data->seed : "null");
	for (int i = 0; i < data->noptions; i++)
	{
		if (!data->options[i].changed)
			continue;
		appendStringInfoString(&json, ", ");
		escape_json(&json, data->options[i].name);
		appendStringInfo(&json, ": %s", data->options[i].value);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

static void
html_repeat(const ReportData *data, int level, StringInfo out)
{
	page_heading(out, level, "To repeat it");
	appendStringInfoString(out, "<p>Seed ");
	markup_text(out, data->seed);
	appendStringInfoString(out, ". What happens at random is the same with the same seed.</p>\n<pre>");
	markup_text(out, psprintf("SELECT pool_exhaust_run(%s, %s, %s);", quote_literal_cstr(data->scenario),
							  quote_literal_cstr(data->target), quote_literal_cstr(repeat_options(data))));
	appendStringInfoString(out, "</pre>\n");
}

/* ---------- The page ---------- */

/* Writes a run; its heading is of that level, and those in it are of the next one. */
static void
html_run(const ReportData *data, int level, StringInfo out)
{
	appendStringInfo(out, "<article id=\"run" INT64_FORMAT "\">\n", data->run_id);
	html_verdict(data, level, out);
	html_checks(data, level + 1, out);
	if (data->run_id != 0)
		html_charts(data, level + 1, out);
	html_history(data, level + 1, out);
	html_phases(data, level + 1, out);
	html_options(data, level + 1, out);
	html_environment(data, level + 1, out);
	if (data->run_id != 0)
		html_repeat(data, level + 1, out);
	appendStringInfoString(out, "</article>\n");
}

/* Is it in the page with all that it has?  A repetition has many runs that are alike, and reports of their own. */
static bool
is_shown(const ReportData *run)
{
	return strcmp(run->repeat, "base") != 0 && strcmp(run->repeat, "candidate") != 0;
}

/* A row of the matrix, with a link to the run. */
static void
matrix_row(const ReportData *run, bool shown, StringInfo out)
{
	int			passed;
	int			tried;

	checks_count(run, &passed, &tried);
	appendStringInfoString(out, "<tr><th scope=\"row\">");
	if (shown)
		appendStringInfo(out, "<a href=\"#run" INT64_FORMAT "\">", run->run_id);
	markup_text(out, psprintf("%s%s%s", run_text(run), run->repeat[0] != '\0' ? ", " : "", run->repeat));
	appendStringInfo(out, "%s</th><td>", shown ? "</a>" : "");
	page_badge(out, verdict_text(run));
	appendStringInfoString(out, "</td>");
	table_text(out, psprintf("%d of %d", passed, tried));
	table_number(out, run->elapsed_s);
	table_text(out, run->reason);
	table_row_end(out);
}

/* The verdict of each run, and of its parts. */
static void
html_matrix(const ReportData *const *runs, int n, StringInfo out)
{
	const char *columns[] = {"run", "verdict", "checks", "seconds", "reason"};

	table_begin(out, "Runs and their verdicts", lengthof(columns), columns);
	for (int i = 0; i < n; i++)
	{
		matrix_row(runs[i], true, out);
		for (int part = 0; part < runs[i]->nparts; part++)
			matrix_row(runs[i]->parts[part], is_shown(runs[i]->parts[part]), out);
	}
	table_end(out);
}

static void
html_several(const ReportData *const *runs, int n, StringInfo out)
{
	page_heading(out, 1, n == 1 ? psprintf("%s on %s", runs[0]->scenario, runs[0]->target) : psprintf("%d runs", n));
	html_matrix(runs, n, out);
	for (int i = 0; i < n; i++)
	{
		html_run(runs[i], 2, out);
		for (int part = 0; part < runs[i]->nparts; part++)
			if (is_shown(runs[i]->parts[part]))
				html_run(runs[i]->parts[part], 2, out);
	}
}

static void
html_write_several(const ReportData *const *runs, int n, StringInfo out)
{
	page_begin(out, n == 1 ? psprintf("%s: %s", verdict_text(runs[0]), run_text(runs[0])) : psprintf("%d runs of pool_exhaust", n));
	if (n == 1 && runs[0]->nparts == 0)
		html_run(runs[0], 1, out);
	else
		html_several(runs, n, out);
	page_end(out);
}

const ReportFormat report_format_html = {
	.name = "html",
	.parts = true,
	.history = true,
	.write_several = html_write_several,
	.compare = compare_html,
};

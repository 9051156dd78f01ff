/*
 * compare_html.c
 *		Two runs side by side as a page: can they be compared, what has changed, and
 *		each latency of both in one chart.
 */
#include "postgres.h"

#include "base/markup.h"
#include "base/text.h"
#include "plot/page.h"
#include "plot/table.h"
#include "report/chart/chart.h"
#include "report/compare.h"

/* The page has no more charts than fit into so many bytes. */
#define CHARTS_END	(130 * 1024)

/* ---------- Can they be compared? ---------- */

static void
html_differences(const RunComparison *c, StringInfo out)
{
	const char *columns[] = {"what differs", "base", "candidate"};

	table_begin_stacking(out, "What differs in the environment of the runs, and in their options", lengthof(columns), columns);
	for (int i = 0; i < c->ndifferences; i++)
	{
		const EnvironmentDifference *difference = &c->differences[i];

		table_row(out, difference->name);
		table_named_text(out, "base", difference->base[0] != '\0' ? difference->base : "none");
		table_named_text(out, "candidate", difference->candidate[0] != '\0' ? difference->candidate : "none");
		table_row_end(out);
	}
	table_end(out);
}

static void
html_comparable(const RunComparison *c, StringInfo out)
{
	appendStringInfo(out, "<p class=\"reason %s\">%s</p>\n", c->ndifferences == 0 ? "pass" : "invalid", c->ndifferences == 0
					 ? "<strong>Comparable:</strong> both ran in the same environment, with the same options."
					 : "<strong>Not comparable:</strong> what else has changed may come from what differs here.");
	if (c->ndifferences > 0)
		html_differences(c, out);
}

/* ---------- The runs ---------- */

static void
run_row(StringInfo out, const char *what, const char *base, const char *candidate)
{
	table_row(out, what);
	table_named_text(out, "base", base);
	table_named_text(out, "candidate", candidate);
	table_row_end(out);
}

static void
verdict_cell(const ReportData *run, const char *name, StringInfo out)
{
	appendStringInfo(out, "<td data-name=\"%s\">", name);
	page_badge(out, verdict_text(run));
	appendStringInfoString(out, "</td>");
}

static char *
checks_text(const ReportData *run)
{
	int			passed;
	int			tried;

	checks_count(run, &passed, &tried);
	return psprintf("%d of %d passed", passed, tried);
}

static void
html_runs(const RunComparison *c, StringInfo out)
{
	const char *columns[] = {"what", "base", "candidate"};
	const ReportData *base = c->base;
	const ReportData *candidate = c->candidate;

	page_heading(out, 2, "Runs");
	table_begin_stacking(out, "The two runs", lengthof(columns), columns);
	table_row(out, "verdict");
	verdict_cell(base, "base", out);
	verdict_cell(candidate, "candidate", out);
	table_row_end(out);
	if (base->reason[0] != '\0' || candidate->reason[0] != '\0')
		run_row(out, "reason", base->reason, candidate->reason);
	run_row(out, "run", psprintf(INT64_FORMAT, base->run_id), psprintf(INT64_FORMAT, candidate->run_id));
	run_row(out, "target", base->target, candidate->target);
	run_row(out, "begun", base->started_at, candidate->started_at);
	run_row(out, "seconds", number_text(base->elapsed_s), number_text(candidate->elapsed_s));
	run_row(out, "checks", checks_text(base), checks_text(candidate));
	run_row(out, "PostgreSQL", base->server_version, candidate->server_version);
	run_row(out, "pool_exhaust", base->extension_version, candidate->extension_version);
	table_end(out);
}

/* ---------- What has changed ---------- */

/* A cell that is marked, or not. */
static void
marked_cell(const char *name, const char *text, bool marked, StringInfo out)
{
	appendStringInfo(out, "<td data-name=\"%s\">%s", name, marked ? "<strong>" : "");
	markup_text(out, text);
	appendStringInfo(out, "%s</td>", marked ? "</strong>" : "");
}

static void
html_metric(const ComparedMetric *metric, StringInfo out)
{
	bool		marked = metric_times_noise(metric) >= TELLING_TIMES_NOISE;

	table_row(out, metric->name);
	table_named_text(out, "base", metric_value_text(metric, metric->base));
	table_named_text(out, "candidate", metric_value_text(metric, metric->candidate));
	marked_cell("change", metric_change_text(metric), marked, out);
	marked_cell("times noise", metric_noise_text(metric), marked, out);
	table_row_end(out);
}

static void
html_metrics(const RunComparison *c, StringInfo out)
{
	const char *columns[] = {"metric", "base", "candidate", "change", "times noise"};

	page_heading(out, 2, "Metrics");
	if (c->nmetrics == 0)
	{
		appendStringInfoString(out, "<p>Neither run has one.</p>\n");
		return;
	}
	table_begin_stacking(out, psprintf("Differences of %d times the noise and more are marked; fewer say nothing",
									   TELLING_TIMES_NOISE), lengthof(columns), columns);
	for (int i = 0; i < c->nmetrics; i++)
		html_metric(&c->metrics[i], out);
	table_end(out);
}

/* The outcome of a check, and what was observed. */
static void
outcome_cell(const ReportCheck *check, const char *name, StringInfo out)
{
	appendStringInfo(out, "<td data-name=\"%s\">", name);
	page_badge(out, change_outcome(check));
	appendStringInfoChar(out, ' ');
	if (check != NULL && !check_is(check, "skip"))
		markup_text(out, psprintf("observed %s, expected %s", observed_text(check), expected_text(check)));
	appendStringInfoString(out, "</td>");
}

static void
html_changes(const RunComparison *c, StringInfo out)
{
	const char *columns[] = {"check", "base", "candidate"};

	page_heading(out, 2, "Checks whose outcome has changed");
	if (c->nchanges == 0)
	{
		appendStringInfoString(out, "<p>There are none.</p>\n");
		return;
	}
	table_begin_stacking(out, "Outcomes in both runs; none: the run does not have the check", lengthof(columns), columns);
	for (int i = 0; i < c->nchanges; i++)
	{
		table_row(out, change_name(&c->changes[i]));
		outcome_cell(c->changes[i].base, "base", out);
		outcome_cell(c->changes[i].candidate, "candidate", out);
		table_row_end(out);
	}
	table_end(out);
}

/* ---------- Both distributions ---------- */

/* Returns the chart of a latency of the base, palloc'd; NULL: there is nothing to draw. */
static Plot *
chart_of(const RunComparison *c, int number)
{
	const ReportLatency *base = &c->base->latencies[number];
	const ReportLatency *candidate = latency_find(c->candidate, base);
	Plot	   *plot = candidate != NULL ? chart_distribution_of_both(c->base, base, c->candidate, candidate) : NULL;

	if (plot != NULL)
		plot->picture = (Picture)
	{
		.id = psprintf("both-%d", number + 1),
		.title = psprintf("%s: %s", base->phase, base->metric),
		.description = "The share of each run's values by their size, on a logarithmic scale; below, from p50 (the square) to p99.",
	};
	return plot;
}

static void
html_charts(const RunComparison *c, StringInfo out)
{
	int			drawn = 0;
	int			left_out = 0;

	page_heading(out, 2, "Distributions");
	appendStringInfoString(out, "<div class=\"charts\">\n");
	for (int i = 0; i < c->base->nlatencies; i++)
	{
		Plot	   *plot = chart_of(c, i);

		if (plot != NULL && out->len >= CHARTS_END)
			left_out++;
		else if (plot != NULL)
		{
			plot_figure(plot, out);
			drawn++;
		}
	}
	appendStringInfoString(out, "</div>\n");
	if (left_out > 0)
		appendStringInfo(out, "<p>%d more are left out, as the page would be too large.</p>\n", left_out);
	else if (drawn == 0)
		appendStringInfoString(out, "<p>There is no latency that both runs have.</p>\n");
}

/* ---------- The page ---------- */

void
compare_html(const RunComparison *c, StringInfo out)
{
	char	   *title = psprintf("%s: run " INT64_FORMAT " and run " INT64_FORMAT, c->base->scenario,
								 c->base->run_id, c->candidate->run_id);

	page_begin(out, title);
	appendStringInfoString(out, "<article>\n");
	page_heading(out, 1, title);
	html_comparable(c, out);
	html_runs(c, out);
	html_changes(c, out);
	html_metrics(c, out);
	html_charts(c, out);
	appendStringInfoString(out, "</article>\n");
	page_end(out);
}

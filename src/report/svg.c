/*
 * svg.c
 *		Report format svg: one chart, for a wiki or a mail.  "svg" is the first
 *		one, "svg:NAME" any.
 */
#include "postgres.h"

#include "report/chart/chart.h"
#include "report/format.h"
#include "report/svg.h"

/* A picture that says that the run has nothing for this chart. */
static void
svg_empty(const ReportChart *chart, const ReportData *data, StringInfo out)
{
	Picture		picture = {
		.id = psprintf("run" INT64_FORMAT "-%s", data->run_id, chart->name),
		.title = chart->title,
		.description = chart->description,
		.alone = true,
	};

	picture_begin(out, &picture, 3 * PLOT_LINE);
	svg_text(out, PLOT_WIDTH / 2, 2 * PLOT_LINE, "m c", psprintf("%s: run " INT64_FORMAT " has nothing to draw", chart->title, data->run_id));
	picture_end(out);
}

static void
svg_chart(const ReportChart *chart, const ReportData *data, StringInfo out)
{
	Plot	   *plot = report_chart_plot(chart, data, true);

	if (plot != NULL)
		plot->type->draw(plot, out);
	else
		svg_empty(chart, data, out);
}

/* A picture is of one run. */
static void
svg_write_several(const ReportData *const *runs, int n, StringInfo out)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("format svg is a picture of one run, and there are %d", n),
			 errhint("Ask for one at a time, or for format html.")));
}

static void
svg_write(const ReportData *data, StringInfo out)
{
	svg_chart(report_charts[0], data, out);
}

const ReportFormat report_format_svg = {
	.name = "svg",
	.measured = true,
	.write = svg_write,
	.write_several = svg_write_several,
};

/* ---------- A format for each chart ---------- */

#define SVG_WRITE(name) \
static void \
svg_write_##name(const ReportData *data, StringInfo out) \
{ \
	svg_chart(&report_chart_##name, data, out); \
}
REPORT_CHARTS(SVG_WRITE)

#define SVG_FORMAT(chart) {.name = "svg:" #chart, .write = svg_write_##chart, .write_several = svg_write_several},

static const ReportFormat chart_formats[] = {
	REPORT_CHARTS(SVG_FORMAT)
};

/* Returns the format of "svg:NAME"; NULL if that is another name.  ERROR with the charts if there is no such one. */
const ReportFormat *
svg_format_find(const char *name)
{
	if (strncmp(name, SVG_PREFIX, strlen(SVG_PREFIX)) != 0)
		return NULL;
	(void) report_chart_find(name + strlen(SVG_PREFIX));
	for (int i = 0; i < lengthof(chart_formats); i++)
		if (strcmp(chart_formats[i].name, name) == 0)
			return &chart_formats[i];
	return NULL;
}

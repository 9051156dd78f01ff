/*
 * chart.c
 *		The charts of a run, and what they share.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "report/chart/chart.h"

#define REPORT_CHART_ADDRESS(name) &report_chart_##name,

const ReportChart *const report_charts[] = {
	REPORT_CHARTS(REPORT_CHART_ADDRESS)
};

const int	nreport_charts = lengthof(report_charts);

static char *
charts_list(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < nreport_charts; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", report_charts[i]->name);
	return list.data;
}

/* Returns the chart of that name; ERROR with the list if there is none. */
const ReportChart *
report_chart_find(const char *name)
{
	for (int i = 0; i < nreport_charts; i++)
		if (strcmp(report_charts[i]->name, name) == 0)
			return report_charts[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("chart \"%s\" does not exist", name),
			 errhint("Charts are: %s.", charts_list())));
}

/* Returns the plot of a chart, palloc'd, NULL if the run has nothing to draw.  "alone": for a file of its own. */
Plot *
report_chart_plot(const ReportChart *chart, const ReportData *data, bool alone)
{
	Plot	   *plot = chart->plot(data);

	if (plot != NULL)
		plot->picture = (Picture)
	{
		.id = psprintf("run" INT64_FORMAT "-%s", data->run_id, chart->name),
		.title = chart->title,
		.description = chart->description,
		.alone = alone,
	};
	return plot;
}

/* ---------- What charts share ---------- */

/* The phases as parts of the time: each lasts until the next one.  What was measured all along is no part. */
static TimeBand *
bands_of(const ReportData *data, double end, int *n)
{
	TimeBand   *bands = palloc(sizeof(TimeBand) * data->nphases);

	*n = 0;
	for (int i = 0; i < data->nphases; i++)
	{
		const ReportPhase *phase = &data->phases[i];

		if (phase->began_s < 0 || phase->elapsed_s <= 0 || (*n > 0 && phase->began_s < bands[*n - 1].from))
			continue;
		if (*n > 0)
			bands[*n - 1].to = phase->began_s;
		bands[(*n)++] = (TimeBand) {phase->name, phase->began_s, Max(end, phase->began_s)};
	}
	return bands;
}

/* Returns a plot with the moments of the samples and the phases; the series are the caller's. */
TimePlot *
chart_time_plot(const ReportData *data)
{
	TimePlot   *plot = palloc0(sizeof(TimePlot));
	double	   *at = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);

	for (int i = 0; i < data->nsamples; i++)
		at[i] = data->samples[i].at_s;
	plot->base.type = &time_plot;
	plot->unit = "s";
	plot->n = data->nsamples;
	plot->at = at;
	plot->from = data->nsamples > 0 ? Min(at[0], 0) : 0;
	plot->to = Max(Max(data->elapsed_s, data->nsamples > 0 ? at[data->nsamples - 1] : 0), plot->from + 0.001);
	plot->bands = bands_of(data, plot->to, &plot->nbands);
	return plot;
}

/* Returns the limits in ms that checks of a phase compare with. */
RowLimit *
chart_limits(const ReportData *data, const char *phase, int *n)
{
	RowLimit   *limits = palloc(sizeof(RowLimit) * data->nchecks);

	*n = 0;
	for (int i = 0; i < data->nchecks; i++)
	{
		const ReportCheck *check = &data->checks[i];

		if (strcmp(check->phase, phase) == 0 && strcmp(check->unit, "ms") == 0 &&
			check->comparison.operator == OPERATOR_AT_MOST)
			limits[(*n)++] = (RowLimit) {check->name, check->comparison.expected};
	}
	return limits;
}

/* Puts a figure of the phase into "value"; returns whether it has that. */
bool
chart_figure(const ReportPhase *phase, const char *name, double *value)
{
	JsonbValue *found;
	Jsonb	   *figures;

	if (phase->figures[0] == '\0')
		return false;
	figures = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(phase->figures)));
	found = getKeyJsonValueFromContainer(&figures->root, name, strlen(name), NULL);
	if (found == NULL || found->type != jbvNumeric)
		return false;
	*value = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(found->val.numeric)));
	return true;
}

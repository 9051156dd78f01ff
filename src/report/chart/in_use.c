/*
 * in_use.c
 *		Connections in use against time, with the capacity and the thresholds of
 *		health as they are set now.
 */
#include "postgres.h"

#include "base/health.h"
#include "report/chart/chart.h"

/* The lines that in_use is seen against; those that others are on are left out. */
static TimeLevel *
levels_of(const ReportData *data, const TimePlot *plot, int *n)
{
	int			warning = health_level(HEALTH_WARNING, data->capacity);
	int			critical = health_level(HEALTH_CRITICAL, data->capacity);
	TimeLevel  *levels = palloc(sizeof(TimeLevel) * 3);

	*n = 0;
	levels[(*n)++] = (TimeLevel) {psprintf("capacity %d", data->capacity), INK_LIMIT, data->capacity};
	if (critical < data->capacity)
		levels[(*n)++] = (TimeLevel) {psprintf("critical from %d", critical), INK_B, critical};
	if (warning < critical)
		levels[(*n)++] = (TimeLevel) {psprintf("warning from %d", warning), INK_FAINT, warning};
	for (int i = 0; i < *n; i++)
	{
		levels[i].from = plot->from;
		levels[i].to = plot->to;
	}
	return levels;
}

static Plot *
in_use_plot(const ReportData *data)
{
	TimePlot   *plot = chart_time_plot(data);
	double	   *in_use = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);

	if (data->nsamples == 0)
		return NULL;
	for (int i = 0; i < data->nsamples; i++)
		in_use[i] = data->samples[i].in_use;
	plot->nseries = 1;
	plot->series[0] = (TimeSeries) {"in use", INK_A, .filled = true, .values = in_use};
	if (data->capacity > 0)
		plot->levels = levels_of(data, plot, &plot->nlevels);
	return &plot->base;
}

const ReportChart report_chart_in_use = {
	.name = "in_use",
	.title = "Connections in use",
	.description = "How many connections of the pool were handed out, in each phase, and how many there are.",
	.plot = in_use_plot,
};

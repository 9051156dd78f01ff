/*
 * in_use.c
 *		Connections in use against time, with the capacity and the thresholds of
 *		health as they are set now.
 */
#include "postgres.h"

#include "report/chart/chart.h"

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
		time_plot_health_levels(plot, data->capacity);
	return &plot->base;
}

const ReportChart report_chart_in_use = {
	.name = "in_use",
	.title = "Connections in use",
	.description = "How many connections of the pool were handed out, in each phase, and how many there are.",
	.plot = in_use_plot,
};

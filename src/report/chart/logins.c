/*
 * logins.c
 *		Logins a second against time, of a storm.
 */
#include "postgres.h"

#include "report/chart/chart.h"

/* Samples nearer than that are one moment: rates of single samples jump. */
#define WINDOW_S	0.05

/* The peaks that the run itself has measured, each over its wave. */
static TimeLevel *
levels_of(const ReportData *data, int *n)
{
	TimeLevel  *levels = palloc(sizeof(TimeLevel) * data->nphases);

	*n = 0;
	for (int i = 0; i < data->nphases; i++)
	{
		const ReportPhase *phase = &data->phases[i];
		double		peak;

		if (phase->began_s < 0 || !chart_figure(phase, "peak_per_s", &peak))
			continue;
		levels[*n] = (TimeLevel) {*n == 0 ? "peak of a wave" : NULL, INK_B, peak,
		phase->began_s, phase->began_s + phase->elapsed_s};
		(*n)++;
	}
	return levels;
}

/* Makes the moments of the plot windows, and returns the rate in each. */
static double *
rates_of(const ReportData *data, TimePlot *plot)
{
	double	   *at = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);
	double	   *rates = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);
	const ReportSample *before = data->samples;

	plot->n = 0;
	for (int i = 1; i < data->nsamples; i++)
	{
		const ReportSample *sample = &data->samples[i];
		double		span = sample->at_s - before->at_s;

		if (span < WINDOW_S)
			continue;
		at[plot->n] = sample->at_s;
		rates[plot->n++] = (sample->granted - before->granted) / span;
		before = sample;
	}
	plot->at = at;
	return rates;
}

static Plot *
logins_plot(const ReportData *data)
{
	TimePlot   *plot = chart_time_plot(data);

	plot->levels = levels_of(data, &plot->nlevels);
	plot->nseries = 1;
	plot->series[0] = (TimeSeries) {"logins a second", INK_A, .filled = true, .values = rates_of(data, plot)};
	return plot->nlevels > 0 && plot->n > 0 ? &plot->base : NULL;
}

const ReportChart report_chart_logins = {
	.name = "logins",
	.title = "Logins a second",
	.description = "How many clients were connected a second, in windows of 50 ms or more, and the peak that the run measured itself.",
	.plot = logins_plot,
};

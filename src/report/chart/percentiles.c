/*
 * percentiles.c
 *		p50 and p99 of the time to a connection against time, with the limits of
 *		the checks.
 */
#include "postgres.h"

#include <math.h>

#include "report/chart/chart.h"

/* The limits of the checks, each over its phase. */
static TimeLevel *
levels_of(const ReportData *data, const TimePlot *plot, int *n)
{
	TimeLevel  *levels = palloc(sizeof(TimeLevel) * plot->nbands * Max(data->nchecks, 1));

	*n = 0;
	for (int i = 0; i < plot->nbands; i++)
	{
		int			nlimits;
		RowLimit   *limits = chart_limits(data, plot->bands[i].name, &nlimits);

		for (int j = 0; j < nlimits; j++)
		{
			const char *name = *n == 0 ? "limits of the checks of a phase" : NULL;

			levels[(*n)++] = (TimeLevel) {name, INK_LIMIT, limits[j].value, plot->bands[i].from, plot->bands[i].to};
		}
	}
	return levels;
}

static Plot *
percentiles_plot(const ReportData *data)
{
	TimePlot   *plot = chart_time_plot(data);
	double	   *p50 = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);
	double	   *p99 = palloc_extended(sizeof(double) * data->nsamples, MCXT_ALLOC_HUGE);
	bool		any = false;

	for (int i = 0; i < data->nsamples; i++)
	{
		p50[i] = data->samples[i].p50_ms > 0 ? data->samples[i].p50_ms : NAN;
		p99[i] = data->samples[i].p99_ms > 0 ? data->samples[i].p99_ms : NAN;
		any = any || data->samples[i].p99_ms > 0;
	}
	plot->log = true;
	plot->nseries = 2;
	plot->series[0] = (TimeSeries) {"p50, ms", INK_A, .values = p50};
	plot->series[1] = (TimeSeries) {"p99, ms", INK_B, .values = p99};
	plot->levels = levels_of(data, plot, &plot->nlevels);
	return any ? &plot->base : NULL;
}

const ReportChart report_chart_percentiles = {
	.name = "percentiles",
	.title = "Time to a connection, in ms",
	.description = "p50 and p99 of the grants of each phase so far, and the limits in ms that its checks compare with.",
	.plot = percentiles_plot,
};

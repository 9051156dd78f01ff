/*
 * distribution.c
 *		How the latencies of each phase are distributed, with the limits of its
 *		checks.
 */
#include "postgres.h"

#include "report/chart/chart.h"

/* A picture has no more rows. */
#define ROWS_MAX	40

static Plot *
distribution_of_run(const ReportData *data)
{
	DistributionPlot *plot = palloc0(sizeof(DistributionPlot));
	DistributionRow *rows = palloc(sizeof(DistributionRow) * ROWS_MAX);

	for (int i = 0; i < data->nlatencies && plot->nrows < ROWS_MAX; i++)
	{
		const ReportLatency *latency = &data->latencies[i];
		DistributionRow *row = &rows[plot->nrows];

		if (latency->buckets.n == 0)
			continue;
		row->name = psprintf("%s: %s", latency->phase, latency->metric);
		row->ink = INK_A;
		row->buckets = &latency->buckets;
		row->limits = chart_limits(data, latency->phase, &row->nlimits);
		plot->nrows++;
	}
	plot->base.type = &distribution_plot;
	plot->unit = "ms";
	plot->divisor = 1000;
	plot->rows = rows;
	return plot->nrows > 0 ? &plot->base : NULL;
}

const ReportChart report_chart_distribution = {
	.name = "distribution",
	.title = "Latencies of each phase",
	.description = "How often each latency was measured, on a logarithmic scale; each row has a height of its own.",
	.plot = distribution_of_run,
};

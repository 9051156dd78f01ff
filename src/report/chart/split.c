/*
 * split.c
 *		What a wait for a connection consists of, by phase: the queue, the login
 *		and the first query, where all of them were measured.
 */
#include "postgres.h"

#include "plot/bars.h"
#include "report/chart/chart.h"

/* Returns the median in ms of a latency of the phase; -1 if that was not measured. */
static double
median_of(const ReportData *data, const char *phase, const char *metric)
{
	for (int i = 0; i < data->nlatencies; i++)
	{
		const ReportLatency *latency = &data->latencies[i];

		if (strcmp(latency->phase, phase) == 0 && strcmp(latency->metric, metric) == 0)
			return buckets_percentile(&latency->buckets, 0.50) / 1000;
	}
	return -1;
}

static Plot *
split_plot(const ReportData *data)
{
	BarPlot    *plot = palloc0(sizeof(BarPlot));
	BarRow	   *rows = palloc0(sizeof(BarRow) * data->nphases);

	for (int i = 0; i < data->nphases; i++)
	{
		const char *phase = data->phases[i].name;
		double		wait = median_of(data, phase, "wait");
		double		connect = Max(median_of(data, phase, "connect"), 0);
		double		query = median_of(data, phase, "query");

		if (wait >= 0 && query >= 0)
			rows[plot->nrows++] = (BarRow) {phase, {Max(wait - connect, 0), connect, query}};
	}
	plot->base.type = &bar_plot;
	plot->unit = "ms";
	plot->what = "level";
	plot->nparts = 3;
	plot->parts[0] = (LegendEntry) {"queue", INK_A};
	plot->parts[1] = (LegendEntry) {"connect", INK_C};
	plot->parts[2] = (LegendEntry) {"first query", INK_D};
	plot->rows = rows;
	return plot->nrows > 0 ? &plot->base : NULL;
}

const ReportChart report_chart_split = {
	.name = "split",
	.title = "What a connection costs at each level",
	.description = "Medians: the time in the queue, the login where one was needed, and the first query.",
	.plot = split_plot,
};

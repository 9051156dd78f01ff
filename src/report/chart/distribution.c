/*
 * distribution.c
 *		How the latencies of each phase are distributed, with the limits of its
 *		checks: of a run, and of two in one chart.
 */
#include "postgres.h"

#include "report/chart/chart.h"

/* A picture has no more rows. */
#define ROWS_MAX	40

/* Returns a plot without rows yet. */
static DistributionPlot *
plot_of_latencies(void)
{
	DistributionPlot *plot = palloc0(sizeof(DistributionPlot));

	plot->base.type = &distribution_plot;
	plot->unit = "ms";
	plot->divisor = 1000;
	return plot;
}

static char *
row_name(const ReportLatency *latency)
{
	return psprintf("%s: %s", latency->phase, latency->metric);
}

static Plot *
distribution_of_run(const ReportData *data)
{
	DistributionPlot *plot = plot_of_latencies();
	DistributionRow *rows = palloc(sizeof(DistributionRow) * ROWS_MAX);

	for (int i = 0; i < data->nlatencies && plot->nrows < ROWS_MAX; i++)
	{
		const ReportLatency *latency = &data->latencies[i];
		DistributionRow *row = &rows[plot->nrows];

		if (latency->buckets.n == 0)
			continue;
		row->name = row_name(latency);
		row->buckets[0] = &latency->buckets;
		row->limits = chart_limits(data, latency->phase, &row->nlimits);
		plot->nrows++;
	}
	plot->series[plot->nseries++] = (LegendEntry) {"values", INK_A};
	plot->rows = rows;
	return plot->nrows > 0 ? &plot->base : NULL;
}

static bool
has_limit(const RowLimit *limits, int n, const RowLimit *limit)
{
	for (int i = 0; i < n; i++)
		if (limits[i].value == limit->value && strcmp(limits[i].name, limit->name) == 0)
			return true;
	return false;
}

/* Returns the limits of the base, and those that the candidate does not share; palloc'd. */
static RowLimit *
limits_of_both(const ReportData *base, const ReportData *candidate, const char *phase, int *n)
{
	int			nothers;
	RowLimit   *limits = chart_limits(base, phase, n);
	RowLimit   *others = chart_limits(candidate, phase, &nothers);
	RowLimit   *both = palloc(sizeof(RowLimit) * (*n + nothers));
	int			nbase = *n;

	memcpy(both, limits, sizeof(RowLimit) * nbase);
	for (int i = 0; i < nothers; i++)
		if (!has_limit(limits, nbase, &others[i]))
			both[(*n)++] = (RowLimit) {psprintf("%s, in the candidate", others[i].name), others[i].value};
	return both;
}

/* Returns the plot of a latency of two runs, palloc'd; NULL if one has no values.  The caller completes "base". */
Plot *
chart_distribution_of_both(const ReportData *base, const ReportLatency *of_base,
						   const ReportData *candidate, const ReportLatency *of_candidate)
{
	DistributionPlot *plot = plot_of_latencies();
	DistributionRow *row = palloc(sizeof(DistributionRow));

	if (of_base->buckets.n == 0 || of_candidate->buckets.n == 0)
		return NULL;
	*row = (DistributionRow) {row_name(of_base), {&of_base->buckets, &of_candidate->buckets}};
	row->limits = limits_of_both(base, candidate, of_base->phase, &row->nlimits);
	plot->series[plot->nseries++] = (LegendEntry) {psprintf("base, run " INT64_FORMAT, base->run_id), INK_A};
	plot->series[plot->nseries++] = (LegendEntry) {psprintf("candidate, run " INT64_FORMAT, candidate->run_id), INK_B, .outlined = true};
	plot->nrows = 1;
	plot->rows = row;
	return &plot->base;
}

const ReportChart report_chart_distribution = {
	.name = "distribution",
	.title = "Latencies of each phase",
	.description = "How often each latency was measured, on a logarithmic scale; each row has a height of its own.",
	.plot = distribution_of_run,
};

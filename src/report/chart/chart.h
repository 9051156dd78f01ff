/*
 * chart.h
 *		The charts of a run, and the list of them.
 *
 * A chart is one file, which defines report_chart_<name>, and one line here.  The
 * first one is that of format svg without a name.
 */
#pragma once

#include "plot/distribution.h"
#include "plot/time_plot.h"
#include "report/data.h"

#define REPORT_CHARTS(CHART) \
	CHART(in_use) \
	CHART(pressure) \
	CHART(percentiles) \
	CHART(distribution) \
	CHART(refusals) \
	CHART(split) \
	CHART(logins) \
	CHART(recovery)

typedef struct ReportChart
{
	const char *name;
	const char *title;
	const char *description;

	/* Returns what there is to draw of the run, palloc'd; NULL: nothing.  The caller completes "base". */
	Plot	   *(*plot) (const ReportData *data);
} ReportChart;

#define REPORT_CHART_DECLARE(name) extern const ReportChart report_chart_##name;
REPORT_CHARTS(REPORT_CHART_DECLARE)
#undef REPORT_CHART_DECLARE

extern const ReportChart *const report_charts[];
extern const int nreport_charts;

extern const ReportChart *report_chart_find(const char *name);
extern Plot *report_chart_plot(const ReportChart *chart, const ReportData *data, bool alone);

/* What charts share; palloc'd. */
extern TimePlot *chart_time_plot(const ReportData *data);
extern RowLimit *chart_limits(const ReportData *data, const char *phase, int *n);
extern bool chart_figure(const ReportPhase *phase, const char *name, double *value);

/* What the charts of two runs are; see distribution.c. */
extern Plot *chart_distribution_of_both(const ReportData *base, const ReportLatency *of_base,
										const ReportData *candidate, const ReportLatency *of_candidate);

/* A metric of the run in others, see history.c. */
extern Plot *chart_history(const ReportData *data, int number);

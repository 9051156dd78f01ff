/*
 * history.c
 *		A metric of a run in the runs that can be compared with it, beside the base
 *		line that view pool_exhaust_trends has for it.
 */
#include "postgres.h"

#include <math.h>

#include "base/text.h"
#include "plot/history.h"
#include "report/chart/chart.h"

/* Microseconds are shown as ms, as in the other charts. */
static double
divisor_of(const ReportHistory *history)
{
	return strcmp(history->unit, "us") == 0 ? 1000 : 1;
}

static char *
description(const HistoryPlot *plot, const ReportHistory *history)
{
	if (isnan(plot->median))
		return psprintf("%d runs, too few for a base line.", plot->n);
	return psprintf("%d runs; the base is %s %s, with a noise of %s: %s.", plot->n, number_text(plot->median), plot->unit,
					number_text(plot->noise), history->verdict);
}

/* Returns the plot of a history of the run, whose number makes its id, palloc'd. */
Plot *
chart_history(const ReportData *data, int number)
{
	const ReportHistory *history = &data->histories[number];
	HistoryPlot *plot = palloc0(sizeof(HistoryPlot));
	double		divisor = divisor_of(history);
	double	   *values = palloc(sizeof(double) * history->n);

	plot->base.type = &history_plot;
	plot->unit = divisor == 1 ? history->unit : "ms";
	plot->what = "run";
	plot->n = history->n;
	plot->names = palloc(sizeof(char *) * history->n);
	plot->marked = -1;
	for (int i = 0; i < history->n; i++)
	{
		plot->names[i] = psprintf("run " INT64_FORMAT, history->run_ids[i]);
		values[i] = history->values[i] / divisor;
		if (history->run_ids[i] == data->run_id)
			plot->marked = i;
	}
	plot->values = values;
	plot->median = history->median / divisor;
	plot->noise = history->noise / divisor;
	plot->base.picture = (Picture)
	{
		.id = psprintf("run" INT64_FORMAT "-history-%d", data->run_id, number + 1),
		.title = history->metric,
		.description = description(plot, history),
	};
	return &plot->base;
}

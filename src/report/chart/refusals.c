/*
 * refusals.c
 *		Refused logins by cause.
 */
#include "postgres.h"

#include "plot/bars.h"
#include "report/chart/chart.h"

static Plot *
refusals_plot(const ReportData *data)
{
	BarPlot    *plot = palloc0(sizeof(BarPlot));
	BarRow	   *rows = palloc0(sizeof(BarRow) * data->nrefusals);

	for (int i = 0; i < data->nrefusals; i++)
		rows[i] = (BarRow) {data->refusals[i].cause, {data->refusals[i].logins}};
	plot->base.type = &bar_plot;
	plot->unit = "";
	plot->what = "cause";
	plot->nparts = 1;
	plot->parts[0] = (LegendEntry) {"logins", INK_B};
	plot->nrows = data->nrefusals;
	plot->rows = rows;
	return plot->nrows > 0 ? &plot->base : NULL;
}

const ReportChart report_chart_refusals = {
	.name = "refusals",
	.title = "Refusals by cause",
	.description = "Logins of the run that were refused, by what refused them.",
	.plot = refusals_plot,
};

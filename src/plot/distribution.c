/*
 * distribution.c
 *		How values are distributed: a row each of the same scale, and their table.
 *
 * The scale is logarithmic.  A row is as high as its fullest bar.
 */
#include "postgres.h"

#include <math.h>

#include "base/markup.h"
#include "base/text.h"
#include "plot/distribution.h"
#include "plot/table.h"

#define BARS		90
#define ROW			46
#define BAR_HEIGHT	24

static const LegendEntry legend[] = {
	{"values", INK_A}, {"p50", INK_C, .dashed = true}, {"p99", INK_B, .dashed = true}, {"limit of a check", INK_LIMIT, .dashed = true}
};

static double
value_of(const DistributionPlot *plot, const Buckets *buckets, int bucket)
{
	return buckets->pairs[2 * bucket] / plot->divisor;
}

/* The scale that has all values and limits. */
static Scale
scale_of(const DistributionPlot *plot)
{
	double		smallest = INFINITY;
	double		largest = 0;

	for (int i = 0; i < plot->nrows; i++)
	{
		const DistributionRow *row = &plot->rows[i];

		smallest = Min(smallest, value_of(plot, row->buckets, 0));
		largest = Max(largest, value_of(plot, row->buckets, row->buckets->n - 1));
		for (int j = 0; j < row->nlimits; j++)
		{
			smallest = Min(smallest, row->limits[j].value);
			largest = Max(largest, row->limits[j].value);
		}
	}
	smallest = Max(smallest, 1 / plot->divisor);
	return scale_log(smallest, Max(largest, smallest), PLOT_LEFT, PLOT_RIGHT);
}

/* Adds up the buckets that are on each bar; returns the largest sum. */
static double
bars_of(const DistributionPlot *plot, const Buckets *buckets, const Scale *scale, double *bars)
{
	double		most = 1;

	memset(bars, 0, sizeof(double) * BARS);
	for (int i = 0; i < buckets->n; i++)
	{
		double		share = (scale_at(scale, value_of(plot, buckets, i)) - scale->low) / (scale->high - scale->low);
		double	   *bar = &bars[Min((int) (share * BARS), BARS - 1)];

		*bar += buckets->pairs[2 * i + 1];
		most = Max(most, *bar);
	}
	return most;
}

static void
draw_bars(const DistributionPlot *plot, const DistributionRow *row, const Scale *scale, int bottom, StringInfo out)
{
	double		bars[BARS];
	double		most = bars_of(plot, row->buckets, scale, bars);
	double		width = (scale->high - scale->low) / BARS;

	appendStringInfo(out, "<path class=\"f%c\" d=\"", INK_LETTERS[row->ink]);
	for (int i = 0; i < BARS; i++)
		if (bars[i] > 0)
			appendStringInfo(out, "M%s %dv-%sh%sV%dz", place_text(scale->low + i * width), bottom,
							 place_text(Max(BAR_HEIGHT * bars[i] / most, 1)), place_text(width - 0.5), bottom);
	appendStringInfoString(out, "\"/>\n");
}

static void
draw_mark(const Scale *scale, double value, Ink ink, const char *name, int bottom, StringInfo out)
{
	appendStringInfo(out, "<path class=\"mark s%c\" data-mark=\"%s\" data-value=\"%.9g\" d=\"M%s %dv%d\"><title>",
					 INK_LETTERS[ink], ink == INK_LIMIT ? "limit" : name, value,
					 place_text(scale_at(scale, value)), bottom - BAR_HEIGHT - 3, BAR_HEIGHT + 3);
	markup_text(out, name);
	appendStringInfo(out, ": %s</title></path>\n", number_text(value));
}

static double
percentile(const DistributionPlot *plot, const DistributionRow *row, double fraction)
{
	return buckets_percentile(row->buckets, fraction) / plot->divisor;
}

static void
draw_row(const DistributionPlot *plot, const DistributionRow *row, const Scale *scale, int bottom, StringInfo out)
{
	appendStringInfo(out, "<g data-row=\"");
	markup_text(out, row->name);
	appendStringInfoString(out, "\">\n");
	svg_text(out, 4, bottom - BAR_HEIGHT - 7, "", row->name);
	appendStringInfo(out, "<path class=\"grid\" d=\"M%d %dH%d\"/>\n", PLOT_LEFT, bottom, PLOT_RIGHT);
	draw_bars(plot, row, scale, bottom, out);
	draw_mark(scale, percentile(plot, row, 0.50), INK_C, "p50", bottom, out);
	draw_mark(scale, percentile(plot, row, 0.99), INK_B, "p99", bottom, out);
	for (int i = 0; i < row->nlimits; i++)
		draw_mark(scale, row->limits[i].value, INK_LIMIT, row->limits[i].name, bottom, out);
	appendStringInfoString(out, "</g>\n");
}

/* Draws the rows; there must be one. */
static void
distribution_draw(const Plot *base, StringInfo out)
{
	const DistributionPlot *plot = (const DistributionPlot *) base;
	Scale		scale = scale_of(plot);
	int			top = legend_height(legend, lengthof(legend));
	int			bottom = top + plot->nrows * ROW + 8;

	picture_begin(out, &plot->base.picture, bottom + PLOT_LINE + 2);
	legend_draw(out, legend, lengthof(legend));
	axis_x(out, &scale, top + 4, bottom, plot->unit);
	for (int i = 0; i < plot->nrows; i++)
		draw_row(plot, &plot->rows[i], &scale, top + (i + 1) * ROW, out);
	picture_end(out);
}

/* Returns its limits as text, palloc'd. */
static char *
limits_text(const DistributionPlot *plot, const DistributionRow *row)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < row->nlimits; i++)
		appendStringInfo(&text, "%s%s: %s", i > 0 ? "; " : "", row->limits[i].name, number_text(row->limits[i].value));
	return text.data;
}

/* Writes the table of what is drawn. */
static void
distribution_table(const Plot *base, StringInfo out)
{
	const DistributionPlot *plot = (const DistributionPlot *) base;
	const char *columns[] = {"what", "values", "p50", "p95", "p99", "largest", "limit"};

	table_begin(out, psprintf("%s, %s", plot->base.picture.title, plot->unit), lengthof(columns), columns);
	for (int i = 0; i < plot->nrows; i++)
	{
		const DistributionRow *row = &plot->rows[i];

		table_row(out, row->name);
		table_number(out, buckets_count(row->buckets));
		table_number(out, percentile(plot, row, 0.50));
		table_number(out, percentile(plot, row, 0.95));
		table_number(out, percentile(plot, row, 0.99));
		table_number(out, value_of(plot, row->buckets, row->buckets->n - 1));
		table_text(out, limits_text(plot, row));
		table_row_end(out);
	}
	table_end(out);
}

const PlotType distribution_plot = {
	.draw = distribution_draw,
	.table = distribution_table,
};

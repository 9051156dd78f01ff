/*
 * distribution.c
 *		How values are distributed: a row each of the same scale, and their table.
 *
 * The scale is logarithmic.  A row is as high as its fullest bar.  Several series are
 * drawn over each other, by the share of its values that each has on a bar; what goes
 * from p50 to p99 of each is below them then, as marks of several in one place could
 * not be told apart.
 */
#include "postgres.h"

#include <math.h>

#include "base/markup.h"
#include "base/text.h"
#include "plot/distribution.h"
#include "plot/table.h"

#define BARS		90
#define LABEL		28			/* above the bars of a row: has room for the large text of narrow screens */
#define LABEL_GAP	9
#define BAR_HEIGHT	24			/* of one series */
#define BARS_HEIGHT 120			/* of several */
#define LANE		14			/* below the bars, for each of several series */
#define SQUARE		8			/* that is p50 there */
#define LEGEND_MAX	(DISTRIBUTION_SERIES_MAX + 3)

/* Where a row is drawn. */
typedef struct Drawing
{
	const DistributionPlot *plot;
	const DistributionRow *row;
	StringInfo	out;
	Scale		scale;
	int			bottom;			/* of the bars */
	int			height;
} Drawing;

static bool
has_several(const DistributionPlot *plot)
{
	return plot->nseries > 1;
}

static int
bars_height(const DistributionPlot *plot)
{
	return has_several(plot) ? BARS_HEIGHT : BAR_HEIGHT;
}

static int
row_height(const DistributionPlot *plot)
{
	return LABEL + bars_height(plot) + (has_several(plot) ? plot->nseries * LANE : 0);
}

/* Puts the entries of the legend, at most LEGEND_MAX, into "entries"; returns how many. */
static int
legend_of(const DistributionPlot *plot, LegendEntry *entries)
{
	int			n = 0;
	bool		limits = false;

	for (int i = 0; i < plot->nseries; i++)
		entries[n++] = plot->series[i];
	for (int i = 0; i < plot->nrows; i++)
		limits = limits || plot->rows[i].nlimits > 0;
	if (!has_several(plot))
	{
		entries[n++] = (LegendEntry) {"p50", INK_C, .dashed = true};
		entries[n++] = (LegendEntry) {"p99", INK_B, .dashed = true};
	}
	if (limits)
		entries[n++] = (LegendEntry) {"limit of a check", INK_LIMIT, .dashed = true};
	return n;
}

static double
value_of(const DistributionPlot *plot, const Buckets *buckets, int bucket)
{
	return buckets->pairs[2 * bucket] / plot->divisor;
}

static double
largest_of(const DistributionPlot *plot, const Buckets *buckets)
{
	return value_of(plot, buckets, buckets->n - 1);
}

static double
percentile(const DistributionPlot *plot, const Buckets *buckets, double fraction)
{
	return buckets_percentile(buckets, fraction) / plot->divisor;
}

/* Makes the range that one which has all values and limits of the row, too. */
static void
range_add_row(const DistributionPlot *plot, const DistributionRow *row, double *smallest, double *largest)
{
	for (int i = 0; i < plot->nseries; i++)
	{
		*smallest = Min(*smallest, value_of(plot, row->buckets[i], 0));
		*largest = Max(*largest, largest_of(plot, row->buckets[i]));
	}
	for (int i = 0; i < row->nlimits; i++)
	{
		*smallest = Min(*smallest, row->limits[i].value);
		*largest = Max(*largest, row->limits[i].value);
	}
}

/* The scale that has all values and limits. */
static Scale
scale_of(const DistributionPlot *plot)
{
	double		smallest = INFINITY;
	double		largest = 0;

	for (int i = 0; i < plot->nrows; i++)
		range_add_row(plot, &plot->rows[i], &smallest, &largest);
	smallest = Max(smallest, 1 / plot->divisor);
	return scale_log(smallest, Max(largest, smallest), PLOT_LEFT, PLOT_RIGHT);
}

/* ---------- Bars ---------- */

/* Puts the share of the values that is on each bar into "bars"; returns the largest share. */
static double
bars_of(const Drawing *d, const Buckets *buckets, double *bars)
{
	const Scale *scale = &d->scale;
	double		all = Max(buckets_count(buckets), 1);
	double		most = 0;

	memset(bars, 0, sizeof(double) * BARS);
	for (int i = 0; i < buckets->n; i++)
	{
		double		share = (scale_at(scale, value_of(d->plot, buckets, i)) - scale->low) / (scale->high - scale->low);
		double	   *bar = &bars[Min((int) (share * BARS), BARS - 1)];

		*bar += buckets->pairs[2 * i + 1] / all;
		most = Max(most, *bar);
	}
	return most;
}

static double
bar_left(const Drawing *d, int bar)
{
	return d->scale.low + bar * (d->scale.high - d->scale.low) / BARS;
}

/* How high it is; one that has a value can be seen. */
static double
bar_height(const Drawing *d, double share, double most)
{
	return share > 0 ? Max(d->height * share / most, 1) : 0;
}

static void
draw_filled(const Drawing *d, const double *bars, double most)
{
	for (int i = 0; i < BARS; i++)
		if (bars[i] > 0)
			appendStringInfo(d->out, "M%s %dv-%sh%sV%dz", place_text(bar_left(d, i)), d->bottom,
							 place_text(bar_height(d, bars[i], most)),
							 place_text(bar_left(d, i + 1) - bar_left(d, i) - 0.5), d->bottom);
}

/* A line along the top of the bars, for each group that nothing is between. */
static void
draw_outline(const Drawing *d, const double *bars, double most)
{
	double		before = 0;

	for (int i = 0; i <= BARS; i++)
	{
		double		share = i < BARS ? bars[i] : 0;
		char	   *left = place_text(bar_left(d, i));

		if (share != before)
			appendStringInfo(d->out, "%sV%s", before == 0 ? psprintf("M%s %d", left, d->bottom) : psprintf("H%s", left),
							 place_text(d->bottom - bar_height(d, share, most)));
		before = share;
	}
}

/* The bars of each series, "most" of its values being on one that is as high as the row. */
static void
draw_bars(const Drawing *d)
{
	double		bars[DISTRIBUTION_SERIES_MAX][BARS];
	double		most = 0;

	for (int s = 0; s < d->plot->nseries; s++)
		most = Max(most, bars_of(d, d->row->buckets[s], bars[s]));
	for (int s = 0; s < d->plot->nseries; s++)
	{
		const LegendEntry *series = &d->plot->series[s];

		appendStringInfo(d->out, "<path class=\"%s%c\" data-series=\"", series->outlined ? "line s" : "f", INK_LETTERS[series->ink]);
		markup_text(d->out, series->text);
		appendStringInfo(d->out, "\" data-most=\"%.9g\" d=\"", most);
		(series->outlined ? draw_outline : draw_filled) (d, bars[s], most);
		appendStringInfoString(d->out, "\"/>\n");
	}
}

/* ---------- Marks ---------- */

/* A line down from there. */
static void
draw_mark(const Drawing *d, double value, Ink ink, const char *name, int top, int height)
{
	appendStringInfo(d->out, "<path class=\"mark%s s%c\" data-mark=\"%s\" data-value=\"%.9g\" d=\"M%s %dv%d\"><title>",
					 ink == INK_LIMIT ? " dash" : "", INK_LETTERS[ink], ink == INK_LIMIT ? "limit" : name, value,
					 place_text(scale_at(&d->scale, value)), top, height);
	markup_text(d->out, name);
	appendStringInfo(d->out, ": %s</title></path>\n", number_text(value));
}

/* p50 as a square, full or empty as the bars are, and from there to p99. */
static void
draw_lane(const Drawing *d, int s)
{
	const LegendEntry *series = &d->plot->series[s];
	char		ink = INK_LETTERS[series->ink];
	double		p50 = percentile(d->plot, d->row->buckets[s], 0.50);
	double		p99 = percentile(d->plot, d->row->buckets[s], 0.99);
	double		place = scale_at(&d->scale, p50);
	int			top = d->bottom + s * LANE + (LANE - SQUARE) / 2 + 2;

	appendStringInfo(d->out, "<path class=\"line s%c\" d=\"M%s %dH%s\"/>\n", ink, place_text(place + SQUARE / 2),
					 top + SQUARE / 2, place_text(Max(scale_at(&d->scale, p99), place + SQUARE / 2)));
	appendStringInfo(d->out, "<rect class=\"line s%c%s\" data-mark=\"p50\" data-value=\"%.9g\" x=\"%s\" y=\"%d\" "
					 "width=\"%d\" height=\"%d\"><title>p50: %s</title></rect>\n", ink,
					 series->outlined ? "" : psprintf(" f%c", ink), p50, place_text(place - SQUARE / 2), top,
					 SQUARE, SQUARE, number_text(p50));
	draw_mark(d, p99, series->ink, "p99", top - 1, SQUARE + 2);
}

static void
draw_percentiles(const Drawing *d)
{
	const Buckets *buckets = d->row->buckets[0];
	int			top = d->bottom - d->height - 3;

	if (!has_several(d->plot))
	{
		draw_mark(d, percentile(d->plot, buckets, 0.50), INK_C, "p50", top, d->height + 3);
		draw_mark(d, percentile(d->plot, buckets, 0.99), INK_B, "p99", top, d->height + 3);
		return;
	}
	for (int s = 0; s < d->plot->nseries; s++)
		draw_lane(d, s);
}

static void
draw_row(const Drawing *d)
{
	appendStringInfoString(d->out, "<g data-row=\"");
	markup_text(d->out, d->row->name);
	appendStringInfo(d->out, "\" data-x=\"%.9g %.9g %s %s\">\n", d->scale.from, d->scale.to,
					 place_text(d->scale.low), place_text(d->scale.high));
	if (!has_several(d->plot) || d->plot->nrows > 1)
		svg_text(d->out, 4, d->bottom - d->height - LABEL_GAP, "", d->row->name);
	appendStringInfo(d->out, "<path class=\"grid\" d=\"M%d %dH%d\"/>\n", PLOT_LEFT, d->bottom, PLOT_RIGHT);
	draw_bars(d);
	draw_percentiles(d);
	for (int i = 0; i < d->row->nlimits; i++)
		draw_mark(d, d->row->limits[i].value, INK_LIMIT, d->row->limits[i].name, d->bottom - d->height - 3, d->height + 3);
	appendStringInfoString(d->out, "</g>\n");
}

/* Draws the rows; there must be one. */
static void
distribution_draw(const Plot *base, StringInfo out)
{
	const DistributionPlot *plot = (const DistributionPlot *) base;
	LegendEntry legend[LEGEND_MAX];
	int			nlegend = legend_of(plot, legend);
	int			top = legend_height(legend, nlegend);
	int			bottom = top + plot->nrows * row_height(plot) + 8;
	Drawing		d = {plot, .out = out, .scale = scale_of(plot), .height = bars_height(plot)};

	picture_begin(out, &plot->base.picture, bottom + PLOT_LINE + 2);
	legend_draw(out, legend, nlegend);
	axis_x(out, &d.scale, top + 4, bottom, plot->unit);
	for (int i = 0; i < plot->nrows; i++)
	{
		d.row = &plot->rows[i];
		d.bottom = top + i * row_height(plot) + LABEL + d.height;
		draw_row(&d);
	}
	picture_end(out);
}

/* Returns its limits as text, palloc'd. */
static char *
limits_text(const DistributionRow *row)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < row->nlimits; i++)
		appendStringInfo(&text, "%s%s: %s", i > 0 ? "; " : "", row->limits[i].name, number_text(row->limits[i].value));
	return text.data;
}

static void
table_series(const DistributionPlot *plot, const DistributionRow *row, int s, StringInfo out)
{
	const Buckets *buckets = row->buckets[s];

	table_row(out, has_several(plot) ? psprintf("%s, %s", row->name, plot->series[s].text) : row->name);
	table_number(out, buckets_count(buckets));
	table_number(out, percentile(plot, buckets, 0.50));
	table_number(out, percentile(plot, buckets, 0.95));
	table_number(out, percentile(plot, buckets, 0.99));
	table_number(out, largest_of(plot, buckets));
	table_text(out, limits_text(row));
	table_row_end(out);
}

/* Writes the table of what is drawn. */
static void
distribution_table(const Plot *base, StringInfo out)
{
	const DistributionPlot *plot = (const DistributionPlot *) base;
	const char *columns[] = {"what", "values", "p50", "p95", "p99", "largest", "limit"};

	table_begin(out, psprintf("%s, %s", plot->base.picture.title, plot->unit), lengthof(columns), columns);
	for (int i = 0; i < plot->nrows; i++)
		for (int s = 0; s < plot->nseries; s++)
			table_series(plot, &plot->rows[i], s, out);
	table_end(out);
}

const PlotType distribution_plot = {
	.draw = distribution_draw,
	.table = distribution_table,
};

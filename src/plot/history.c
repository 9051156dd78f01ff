/*
 * history.c
 *		A value of each of several things in a row, beside a base line: a picture,
 *		and its table.
 */
#include "postgres.h"

#include <math.h>

#include "base/markup.h"
#include "base/text.h"
#include "plot/history.h"
#include "plot/table.h"

#define HEIGHT		110			/* of the plot itself */
#define MARGIN		14			/* beside the first and the last point */
#define SQUARE		14			/* around the one that is marked */
#define LEGEND_MAX	3

/* Where it is drawn. */
typedef struct Drawing
{
	const HistoryPlot *plot;
	StringInfo	out;
	Scale		x;
	Scale		y;
} Drawing;

static bool
has_base(const HistoryPlot *plot)
{
	return !isnan(plot->median);
}

/* Puts the entries of the legend, at most LEGEND_MAX, into "entries"; returns how many. */
static int
legend_of(const HistoryPlot *plot, LegendEntry *entries)
{
	int			n = 0;

	entries[n++] = (LegendEntry) {psprintf("%s, %s", plot->what, plot->unit), INK_A};
	if (plot->marked >= 0)
		entries[n++] = (LegendEntry) {psprintf("this %s", plot->what), INK_B, .outlined = true};
	if (has_base(plot))
		entries[n++] = (LegendEntry) {"median and noise of the base", INK_C, .dashed = true};
	return n;
}

/* From 0 to what is largest. */
static Scale
values_scale(const HistoryPlot *plot, double low, double high)
{
	double		largest = has_base(plot) ? plot->median + plot->noise : 0;

	for (int i = 0; i < plot->n; i++)
		largest = Max(largest, plot->values[i]);
	return (Scale) {0, largest > 0 ? largest * 1.06 : 1, low, high};
}

static void
draw_base(const Drawing *d)
{
	const HistoryPlot *plot = d->plot;
	double		top = scale_at(&d->y, plot->median + plot->noise);

	appendStringInfo(d->out, "<rect class=\"area fc\" data-value=\"%.9g\" x=\"%d\" y=\"%s\" width=\"%d\" height=\"%s\"/>\n",
					 plot->noise, PLOT_LEFT, place_text(top), PLOT_RIGHT - PLOT_LEFT,
					 place_text(scale_at(&d->y, plot->median - plot->noise) - top));
	appendStringInfo(d->out, "<path class=\"dash sc\" data-value=\"%.9g\" d=\"M%d %sH%d\"/>\n", plot->median,
					 PLOT_LEFT, place_text(scale_at(&d->y, plot->median)), PLOT_RIGHT);
}

static void
draw_points(const Drawing *d)
{
	appendStringInfoString(d->out, "<path class=\"dots sa\" data-series=\"");
	markup_text(d->out, d->plot->base.picture.title);
	appendStringInfoString(d->out, "\" d=\"");
	for (int i = 0; i < d->plot->n; i++)
		appendStringInfo(d->out, "M%s %sh0", place_text(scale_at(&d->x, i)), place_text(scale_at(&d->y, d->plot->values[i])));
	appendStringInfoString(d->out, "\"/>\n");
}

static void
draw_marked(const Drawing *d)
{
	double		value = d->plot->values[d->plot->marked];

	appendStringInfo(d->out, "<rect class=\"line sb\" data-mark=\"this\" data-value=\"%.9g\" x=\"%s\" y=\"%s\" width=\"%d\" height=\"%d\"><title>",
					 value, place_text(scale_at(&d->x, d->plot->marked) - SQUARE / 2),
					 place_text(scale_at(&d->y, value) - SQUARE / 2), SQUARE, SQUARE);
	markup_text(d->out, d->plot->names[d->plot->marked]);
	appendStringInfo(d->out, ": %s</title></rect>\n", number_text(value));
}

/* Draws it; the first and the last of the things are named. */
static void
history_draw(const Plot *base, StringInfo out)
{
	const HistoryPlot *plot = (const HistoryPlot *) base;
	LegendEntry legend[LEGEND_MAX];
	int			nlegend = legend_of(plot, legend);
	int			top = legend_height(legend, nlegend) + SQUARE;
	int			bottom = top + HEIGHT;
	Drawing		d = {
		plot, out,
		.x = {0, Max(plot->n - 1, 1), PLOT_LEFT + MARGIN, PLOT_RIGHT - MARGIN},
		.y = values_scale(plot, bottom, top),
	};

	picture_begin(out, &plot->base.picture, bottom + PLOT_LINE + 4);
	legend_draw(out, legend, nlegend);
	appendStringInfo(out, "<g data-kind=\"linear\" data-y=\"%.9g %.9g %d %d\">\n", d.y.from, d.y.to, bottom, top);
	axis_y(out, &d.y);
	if (has_base(plot))
		draw_base(&d);
	draw_points(&d);
	if (plot->marked >= 0)
		draw_marked(&d);
	appendStringInfoString(out, "</g>\n");
	svg_text(out, PLOT_LEFT, bottom + PLOT_LINE - 2, "m", plot->names[0]);
	svg_text(out, PLOT_RIGHT, bottom + PLOT_LINE - 2, "m e", plot->names[plot->n - 1]);
	picture_end(out);
}

/* Writes the table of what is drawn. */
static void
history_table(const Plot *base, StringInfo out)
{
	const HistoryPlot *plot = (const HistoryPlot *) base;
	const char *columns[] = {plot->what, plot->unit};

	table_begin(out, plot->base.picture.title, lengthof(columns), columns);
	for (int i = 0; i < plot->n; i++)
	{
		table_row(out, i == plot->marked ? psprintf("%s (this one)", plot->names[i]) : plot->names[i]);
		table_number(out, plot->values[i]);
		table_row_end(out);
	}
	table_end(out);
}

const PlotType history_plot = {
	.draw = history_draw,
	.table = history_table,
};

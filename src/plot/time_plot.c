/*
 * time_plot.c
 *		Values against time: a picture, and its table.
 */
#include "postgres.h"

#include <math.h>

#include "base/health.h"
#include "base/markup.h"
#include "base/text.h"
#include "plot/slices.h"
#include "plot/table.h"
#include "plot/time_plot.h"

#define HEIGHT			170		/* of the plot itself */
#define CHARACTER		7		/* how wide one is about, on wide and on narrow screens */
#define CHARACTER_NARROW 10

/* What it is drawn with: the scales, and the slices that there are. */
typedef struct Drawing
{
	const TimePlot *plot;
	StringInfo	out;
	const Slices *slices;
	Scale		x;
	Scale		y;
} Drawing;

/* Returns the entries of the legend, palloc'd. */
static LegendEntry *
legend_of(const TimePlot *plot, int *n)
{
	LegendEntry *entries = palloc(sizeof(LegendEntry) * (plot->nseries + plot->nlevels));

	*n = 0;
	for (int i = 0; i < plot->nseries; i++)
		entries[(*n)++] = (LegendEntry) {plot->series[i].name, plot->series[i].ink};
	for (int i = 0; i < plot->nlevels; i++)
		if (plot->levels[i].name != NULL)
			entries[(*n)++] = (LegendEntry) {plot->levels[i].name, plot->levels[i].ink, .dashed = true};
	return entries;
}

static void
range_add(double value, double *smallest, double *largest)
{
	*smallest = Min(*smallest, value);
	*largest = Max(*largest, value);
}

/* The scale of the values, from these places. */
static Scale
values_scale(const TimePlot *plot, double low, double high)
{
	double		smallest = INFINITY;
	double		largest = -INFINITY;

	for (int s = 0; s < plot->nseries; s++)
		for (int i = 0; i < plot->n; i++)
			if (!isnan(plot->series[s].values[i]))
				range_add(plot->series[s].values[i], &smallest, &largest);
	for (int i = 0; i < plot->nlevels; i++)
		range_add(plot->levels[i].value, &smallest, &largest);
	if (plot->log)
		return scale_log(Max(smallest, 1e-3), Max(largest, 1e-3), low, high);
	return (Scale) {0, Max(largest, 1) * 1.06, low, high};
}

/* Each second band has a shade, and its name above if there is room for it. */
static void
draw_band(const Drawing *d, int number, int top, int bottom)
{
	const TimeBand *band = &d->plot->bands[number];
	double		left = scale_at(&d->x, band->from);
	double		width = scale_at(&d->x, band->to) - left;
	int			length = strlen(band->name);

	appendStringInfo(d->out, "<rect class=\"%s\" x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\"><title>",
					 number % 2 == 0 ? "band" : "paper", place_text(left), top, place_text(width), bottom - top);
	markup_text(d->out, band->name);
	appendStringInfoString(d->out, "</title></rect>\n");
	if (length * CHARACTER <= width)
		svg_text(d->out, left + width / 2, top + 14, length * CHARACTER_NARROW <= width ? "m c" : "m c wide", band->name);
}

static void
draw_level(const Drawing *d, const TimeLevel *level)
{
	appendStringInfo(d->out, "<path class=\"dash s%c\" data-value=\"%s\" d=\"M%s %sH%s\"/>\n", INK_LETTERS[level->ink],
					 number_text(level->value), place_text(scale_at(&d->x, level->from)),
					 place_text(scale_at(&d->y, level->value)), place_text(scale_at(&d->x, level->to)));
}

/* Adds a point to a path, "M" or "L" being how to get there. */
static void
path_add(const Drawing *d, StringInfo path, char how, int moment, double value)
{
	appendStringInfo(path, "%c%s %s", how, place_text(scale_at(&d->x, d->plot->at[moment])),
					 place_text(scale_at(&d->y, value)));
}

/* A line through the smallest and the largest value of each slice, in their order. */
static void
line_path(const Drawing *d, const TimeSeries *series, StringInfo path)
{
	bool		joins = false;

	for (int i = 0; i < d->slices->n; i++)
	{
		int			smallest = slice_smallest(&d->slices->slices[i], series->values);
		int			largest = slice_largest(&d->slices->slices[i], series->values);

		if (smallest >= 0)
			path_add(d, path, joins ? 'L' : 'M', Min(smallest, largest), series->values[Min(smallest, largest)]);
		if (smallest >= 0 && !joins)
			appendStringInfoString(path, "h0"); /* a point if nothing follows */
		if (smallest != largest)
			path_add(d, path, 'L', Max(smallest, largest), series->values[Max(smallest, largest)]);
		joins = smallest >= 0;
	}
}

/* A spike for the largest value of each slice. */
static void
spikes_path(const Drawing *d, const TimeSeries *series, StringInfo path)
{
	for (int i = 0; i < d->slices->n; i++)
	{
		int			largest = slice_largest(&d->slices->slices[i], series->values);

		if (largest < 0 || series->values[largest] <= 0)
			continue;
		path_add(d, path, 'M', largest, 0);
		appendStringInfo(path, "V%s", place_text(scale_at(&d->y, series->values[largest])));
	}
}

static void
draw_series(const Drawing *d, const TimeSeries *series)
{
	StringInfoData path;

	initStringInfo(&path);
	(series->spikes ? spikes_path : line_path) (d, series, &path);
	if (series->filled && path.len > 0)
		appendStringInfo(d->out, "<path class=\"area f%c\" d=\"%sV%sH%sZ\"/>\n", INK_LETTERS[series->ink], path.data,
						 place_text(d->y.low), place_text(scale_at(&d->x, d->plot->at[d->slices->slices[0].first])));
	appendStringInfo(d->out, "<path class=\"%s s%c\" fill=\"none\" data-series=\"", series->spikes ? "spike" : "line",
					 INK_LETTERS[series->ink]);
	markup_text(d->out, series->name);
	appendStringInfo(d->out, "\" d=\"%s\"/>\n", path.data);
}

/* Both scales, so that programs can read the values from the paths. */
static void
draw_begin(const Drawing *d)
{
	appendStringInfo(d->out, "<g data-kind=\"%s\" data-x=\"%.9g %.9g %s %s\" data-y=\"%.9g %.9g %s %s\">\n",
					 d->y.log ? "log" : "linear", d->x.from, d->x.to, place_text(d->x.low), place_text(d->x.high),
					 d->y.from, d->y.to, place_text(d->y.low), place_text(d->y.high));
}

/* Draws it; "n" of the plot must not be 0. */
static void
time_plot_draw(const Plot *base, StringInfo out)
{
	const TimePlot *plot = (const TimePlot *) base;
	int			nentries;
	LegendEntry *entries = legend_of(plot, &nentries);
	int			top = legend_height(entries, nentries) + 4;
	int			bottom = top + PLOT_LINE + HEIGHT;
	Drawing		d = {
		.plot = plot,
		.out = out,
		.slices = slices_of(plot->n, plot->at),
		.x = {plot->from, plot->to, PLOT_LEFT, PLOT_RIGHT},
		.y = values_scale(plot, bottom, top + PLOT_LINE),
	};

	picture_begin(out, &plot->base.picture, bottom + PLOT_LINE + 4);
	legend_draw(out, entries, nentries);
	draw_begin(&d);
	for (int i = 0; i < plot->nbands; i++)
		draw_band(&d, i, top, bottom);
	axis_y(out, &d.y);
	axis_x(out, &d.x, bottom, bottom + 4, plot->unit);
	for (int i = 0; i < plot->nseries; i++)
		draw_series(&d, &plot->series[i]);
	for (int i = 0; i < plot->nlevels; i++)
		draw_level(&d, &plot->levels[i]);
	appendStringInfoString(out, "</g>\n");
	picture_end(out);
}

/* The smallest and the largest of a slice, one number if they are the same. */
static void
table_cell(const Slice *slice, const double *values, StringInfo out)
{
	int			smallest = slice_smallest(slice, values);
	int			largest = slice_largest(slice, values);

	if (smallest < 0 || values[smallest] == values[largest])
		table_number(out, smallest < 0 ? NAN : values[smallest]);
	else
		appendStringInfo(out, "<td>%s to %s</td>", number_text(values[smallest]), number_text(values[largest]));
}

/* Writes the table of what is drawn. */
static void
time_plot_table(const Plot *base, StringInfo out)
{
	const TimePlot *plot = (const TimePlot *) base;
	const Slices *slices = slices_of(plot->n, plot->at);
	const char *columns[1 + TIME_SERIES_MAX] = {psprintf("time, %s", plot->unit)};

	for (int s = 0; s < plot->nseries; s++)
		columns[1 + s] = plot->series[s].name;
	table_begin(out, plot->base.picture.title, 1 + plot->nseries, columns);
	for (int i = 0; i < slices->n; i++)
	{
		table_row(out, psprintf("%.3f", plot->at[slices->slices[i].first]));
		for (int s = 0; s < plot->nseries; s++)
			table_cell(&slices->slices[i], plot->series[s].values, out);
		table_row_end(out);
	}
	table_end(out);
}

const PlotType time_plot = {
	.draw = time_plot_draw,
	.table = time_plot_table,
};

/* Gives the plot what connections in use are compared with: lines that others are on are left out. */
void
time_plot_health_levels(TimePlot *plot, int capacity)
{
	int			warning = health_level(HEALTH_WARNING, capacity);
	int			critical = health_level(HEALTH_CRITICAL, capacity);
	TimeLevel  *levels = palloc(sizeof(TimeLevel) * 3);
	int			n = 0;

	levels[n++] = (TimeLevel) {psprintf("capacity %d", capacity), INK_LIMIT, capacity, plot->from, plot->to};
	if (critical < capacity)
		levels[n++] = (TimeLevel) {psprintf("critical from %d", critical), INK_B, critical, plot->from, plot->to};
	if (warning < critical)
		levels[n++] = (TimeLevel) {psprintf("warning from %d", warning), INK_FAINT, warning, plot->from, plot->to};
	plot->levels = levels;
	plot->nlevels = n;
}

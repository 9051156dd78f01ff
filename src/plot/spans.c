/*
 * spans.c
 *		What lasted from when until when, with the moments in it, and its table.
 */
#include "postgres.h"

#include <math.h>

#include "base/markup.h"
#include "base/text.h"
#include "plot/spans.h"
#include "plot/table.h"

#define ROW			46
#define BAR_HEIGHT	16
#define SPAN_LEFT	10

static void
draw_moment(const LegendEntry *kind, double at, const Scale *scale, int bottom, StringInfo out)
{
	appendStringInfo(out, "<path class=\"mark s%c\" data-value=\"%.9g\" d=\"M%s %dv%d\"><title>", INK_LETTERS[kind->ink],
					 at, place_text(scale_at(scale, at)), bottom - BAR_HEIGHT - 3, BAR_HEIGHT + 6);
	markup_text(out, kind->text);
	appendStringInfo(out, ": %s</title></path>\n", number_text(at));
}

static void
draw_span(const SpanPlot *plot, const Span *span, const Scale *scale, int bottom, StringInfo out)
{
	double		left = scale_at(scale, span->from);

	svg_text(out, SPAN_LEFT, bottom - BAR_HEIGHT - 8, "",
			 span->note[0] != '\0' ? psprintf("%s: %s", span->name, span->note) : span->name);
	appendStringInfo(out, "<rect class=\"fx\" x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\"/>\n", place_text(left),
					 bottom - BAR_HEIGHT, place_text(Max(scale_at(scale, span->to) - left, 1)), BAR_HEIGHT);
	for (int i = 0; i < plot->nmoments; i++)
		if (!isnan(span->moments[i]))
			draw_moment(&plot->moments[i], span->moments[i], scale, bottom, out);
}

/* Draws the spans, one below the other; there must be one. */
static void
spans_draw(const Plot *base, StringInfo out)
{
	const SpanPlot *plot = (const SpanPlot *) base;
	Scale		scale = {plot->from, plot->to, SPAN_LEFT, PLOT_RIGHT};
	int			top = legend_height(plot->moments, plot->nmoments);
	int			bottom = top + plot->nspans * ROW + 8;

	picture_begin(out, &plot->base.picture, bottom + PLOT_LINE + 2);
	legend_draw(out, plot->moments, plot->nmoments);
	axis_x(out, &scale, top + 4, bottom, plot->unit);
	for (int i = 0; i < plot->nspans; i++)
		draw_span(plot, &plot->spans[i], &scale, top + (i + 1) * ROW, out);
	picture_end(out);
}

/* Writes the table of what is drawn. */
static void
spans_table(const Plot *base, StringInfo out)
{
	const SpanPlot *plot = (const SpanPlot *) base;
	const char *columns[4 + MOMENTS_MAX] = {"what", "note", "from", "to"};

	for (int i = 0; i < plot->nmoments; i++)
		columns[4 + i] = plot->moments[i].text;
	table_begin(out, psprintf("%s, %s", plot->base.picture.title, plot->unit), 4 + plot->nmoments, columns);
	for (int i = 0; i < plot->nspans; i++)
	{
		const Span *span = &plot->spans[i];

		table_row(out, span->name);
		table_text(out, span->note);
		table_number(out, span->from);
		table_number(out, span->to);
		for (int moment = 0; moment < plot->nmoments; moment++)
			table_number(out, span->moments[moment]);
		table_row_end(out);
	}
	table_end(out);
}

const PlotType span_plot = {
	.draw = spans_draw,
	.table = spans_table,
};

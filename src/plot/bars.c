/*
 * bars.c
 *		Amounts as bars, each of one or more parts, and their table.
 */
#include "postgres.h"

#include "base/markup.h"
#include "base/text.h"
#include "plot/bars.h"
#include "plot/table.h"

#define ROW			44
#define BAR_HEIGHT	18
#define BAR_LEFT	6
#define NAME_LENGTH	40			/* in the picture; the table has all of it */

static double
row_sum(const BarPlot *plot, const BarRow *row)
{
	double		sum = 0;

	for (int i = 0; i < plot->nparts; i++)
		sum += row->parts[i];
	return sum;
}

static Scale
scale_of(const BarPlot *plot)
{
	double		most = 0;

	for (int i = 0; i < plot->nrows; i++)
		most = Max(most, row_sum(plot, &plot->rows[i]));
	return (Scale) {0, most > 0 ? most : 1, BAR_LEFT, PLOT_RIGHT};
}

/* The parts of a bar beside each other, from the left. */
static void
draw_row(const BarPlot *plot, const BarRow *row, const Scale *scale, int bottom, StringInfo out)
{
	double		left = 0;

	svg_text(out, BAR_LEFT, bottom - BAR_HEIGHT - 6, "", text_cut(row->name, NAME_LENGTH));
	svg_text(out, PLOT_RIGHT, bottom - BAR_HEIGHT - 6, "m e", psprintf("%s %s", number_text(row_sum(plot, row)), plot->unit));
	for (int i = 0; i < plot->nparts; i++)
	{
		double		x = scale_at(scale, left);

		left += row->parts[i];
		appendStringInfo(out, "<rect class=\"f%c\" data-value=\"%.9g\" x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\"><title>",
						 INK_LETTERS[plot->parts[i].ink], row->parts[i], place_text(x), bottom - BAR_HEIGHT,
						 place_text(scale_at(scale, left) - x), BAR_HEIGHT);
		markup_text(out, plot->parts[i].text);
		appendStringInfo(out, ": %s %s</title></rect>\n", number_text(row->parts[i]), plot->unit);
	}
}

/* Draws the rows; there must be one. */
static void
bars_draw(const Plot *base, StringInfo out)
{
	const BarPlot *plot = (const BarPlot *) base;
	Scale		scale = scale_of(plot);
	int			nentries = plot->nparts > 1 ? plot->nparts : 0;
	int			top = legend_height(plot->parts, nentries);

	picture_begin(out, &plot->base.picture, top + plot->nrows * ROW + 6);
	legend_draw(out, plot->parts, nentries);
	for (int i = 0; i < plot->nrows; i++)
		draw_row(plot, &plot->rows[i], &scale, top + (i + 1) * ROW, out);
	picture_end(out);
}

/* Writes the table of what is drawn. */
static void
bars_table(const Plot *base, StringInfo out)
{
	const BarPlot *plot = (const BarPlot *) base;
	const char *columns[1 + BAR_PARTS_MAX] = {plot->what};

	for (int i = 0; i < plot->nparts; i++)
		columns[1 + i] = plot->unit[0] != '\0' ? psprintf("%s, %s", plot->parts[i].text, plot->unit) : plot->parts[i].text;
	table_begin(out, plot->base.picture.title, 1 + plot->nparts, columns);
	for (int i = 0; i < plot->nrows; i++)
	{
		table_row(out, plot->rows[i].name);
		for (int part = 0; part < plot->nparts; part++)
			table_number(out, plot->rows[i].parts[part]);
		table_row_end(out);
	}
	table_end(out);
}

const PlotType bar_plot = {
	.draw = bars_draw,
	.table = bars_table,
};

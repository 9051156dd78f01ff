/*
 * plot.c
 *		A plot in a page: its picture, and below it its table.
 */
#include "postgres.h"

#include "base/markup.h"
#include "plot/plot.h"

void
plot_figure(const Plot *plot, StringInfo out)
{
	appendStringInfoString(out, "<figure>\n<figcaption><b>");
	markup_text(out, plot->picture.title);
	appendStringInfoString(out, "</b> ");
	markup_text(out, plot->picture.description);
	appendStringInfoString(out, "</figcaption>\n");
	plot->type->draw(plot, out);
	appendStringInfo(out, "<details>\n<summary>Table</summary>\n<section class=\"scroll\" tabindex=\"0\" aria-label=\"");
	markup_text(out, plot->picture.title);
	appendStringInfo(out, ", table (%s)\">\n", plot->picture.id);
	plot->type->table(plot, out);
	appendStringInfoString(out, "</section>\n</details>\n</figure>\n");
}

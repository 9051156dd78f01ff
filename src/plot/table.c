/*
 * table.c
 *		A table of a page: HTML, the first cell of a row being its header.
 */
#include "postgres.h"

#include <math.h>

#include "base/markup.h"
#include "base/text.h"
#include "plot/table.h"

static void
begin(StringInfo out, const char *class, const char *caption, int n, const char *const *columns)
{
	appendStringInfo(out, "<table%s>\n<caption>", class);
	markup_text(out, caption);
	appendStringInfoString(out, "</caption>\n<thead><tr>");
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(out, "<th scope=\"col\">");
		markup_text(out, columns[i]);
		appendStringInfoString(out, "</th>");
	}
	appendStringInfoString(out, "</tr></thead>\n<tbody>\n");
}

/* Begins a table; its caption is what a reader of the screen calls it, too. */
void
table_begin(StringInfo out, const char *caption, int n, const char *const *columns)
{
	begin(out, "", caption, n, columns);
}

/* The same of one whose cells stand below each other on narrow screens; table_named_text() is for these. */
void
table_begin_stacking(StringInfo out, const char *caption, int n, const char *const *columns)
{
	begin(out, " class=\"checks\"", caption, n, columns);
}

/* The same of one whose headers are names of any length. */
void
table_begin_names(StringInfo out, const char *caption, int n, const char *const *columns)
{
	begin(out, " class=\"checks names\"", caption, n, columns);
}

void
table_row(StringInfo out, const char *header)
{
	appendStringInfoString(out, "<tr><th scope=\"row\">");
	markup_text(out, header);
	appendStringInfoString(out, "</th>");
}

void
table_text(StringInfo out, const char *text)
{
	appendStringInfoString(out, "<td>");
	markup_text(out, text);
	appendStringInfoString(out, "</td>");
}

/* A cell that says what it is where the columns have no room for headers. */
void
table_named_text(StringInfo out, const char *name, const char *text)
{
	appendStringInfo(out, "<td data-name=\"%s\">", name);
	markup_text(out, text);
	appendStringInfoString(out, "</td>");
}

/* The same with a figure or a word that is short, and is never broken. */
void
table_named_short(StringInfo out, const char *name, const char *text)
{
	appendStringInfo(out, "<td class=\"n\" data-name=\"%s\">", name);
	markup_text(out, text);
	appendStringInfoString(out, "</td>");
}

/* A cell with a number; an empty one for NaN. */
void
table_number(StringInfo out, double value)
{
	appendStringInfo(out, "<td>%s</td>", isnan(value) ? "" : number_text(value));
}

void
table_row_end(StringInfo out)
{
	appendStringInfoString(out, "</tr>\n");
}

void
table_end(StringInfo out)
{
	appendStringInfoString(out, "</tbody>\n</table>\n");
}

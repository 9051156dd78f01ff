/*
 * svg.c
 *		What the plots have in common: a picture as SVG, its style, its text.
 */
#include "postgres.h"

#include "base/markup.h"
#include "base/text.h"
#include "plot/svg.h"

/* Programs that show SVG may not know the variables of CSS. */
#define INK(letter, color) ".s" letter "{stroke:" color "}.f" letter "{fill:" color "}"

const char *const plot_style =
"svg.plot text{font:12px system-ui,sans-serif;fill:#1b1f24}"
".plot .m{fill:#57606a}.plot .e{text-anchor:end}.plot .c{text-anchor:middle}"
".paper{fill:#fff}.band{fill:#eef1f5}.grid{stroke:#d0d7de;stroke-width:1}"
".line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.spike{fill:none;stroke-width:2.2}"
".dash{fill:none;stroke-width:1.5;stroke-dasharray:6 4}.area{opacity:.14}.mark{fill:none;stroke-width:2.5}"
".dots{fill:none;stroke-width:7;stroke-linecap:round}"
INK("a", "#0b62c4") INK("b", "#b5460f") INK("c", "#8430b5") INK("d", "#0a7a43") INK("l", "#b3161d") INK("x", "#818b98")
"@media screen and (max-width:620px){svg.plot text{font-size:17px}.plot .wide{display:none}}";

const char *const plot_style_dark =
"@media screen and (prefers-color-scheme:dark){svg.plot text{fill:#e6edf3}.plot .m{fill:#9aa6b2}"
".paper{fill:#0f1419}.band{fill:#1b232c}.grid{stroke:#30363d}.area{opacity:.22}"
INK("a", "#6cb2ff") INK("b", "#ff9c5a") INK("c", "#d39bff") INK("d", "#56d18a") INK("l", "#ff7b77") INK("x", "#8b949e")
"}";

/* Returns a place with at most two decimals; palloc'd. */
char *
place_text(double place)
{
	char	   *text = palloc(32);
	int			length = snprintf(text, 32, "%.2f", place);

	while (text[length - 1] == '0')
		length--;
	text[text[length - 1] == '.' ? length - 1 : length] = '\0';
	return text;
}

/* Begins the picture; its title and description are the first that is read of it. */
void
picture_begin(StringInfo out, const Picture *picture, int height)
{
	appendStringInfoString(out, "<svg class=\"plot\"");
	if (picture->alone)
		appendStringInfo(out, " xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\"", PLOT_WIDTH, height);
	appendStringInfo(out, " viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">",
					 PLOT_WIDTH, height, picture->id, picture->id, picture->id);
	markup_text(out, picture->title);
	appendStringInfo(out, "</title>\n<desc id=\"%s-d\">", picture->id);
	markup_text(out, picture->description);
	appendStringInfoString(out, "</desc>\n");
	if (picture->alone)
		appendStringInfo(out, "<style>%s%s</style>\n<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n",
						 plot_style, plot_style_dark, PLOT_WIDTH, height);
}

void
picture_end(StringInfo out)
{
	appendStringInfoString(out, "</svg>\n");
}

/* Writes a text; its class: m is muted, e ends there, c is centered, wide: not on narrow screens. */
void
svg_text(StringInfo out, double x, double y, const char *class, const char *text)
{
	appendStringInfo(out, "<text x=\"%s\" y=\"%s\" class=\"%s\">", place_text(x), place_text(y), class);
	markup_text(out, text);
	appendStringInfoString(out, "</text>\n");
}

/* Does the next entry begin a line, after so many characters on this one? */
static bool
legend_breaks(const LegendEntry *entry, int *characters)
{
	int			length = strlen(entry->text) + 5;
	bool		breaks = *characters > 0 && *characters + length > 62;

	*characters = (breaks ? 0 : *characters) + length;
	return breaks;
}

/* Returns how high the legend is. */
int
legend_height(const LegendEntry *entries, int n)
{
	int			lines = n > 0;
	int			characters = 0;

	for (int i = 0; i < n; i++)
		lines += legend_breaks(&entries[i], &characters);
	return lines * PLOT_LINE;
}

/* Draws the legend at the top of the picture. */
void
legend_draw(StringInfo out, const LegendEntry *entries, int n)
{
	int			characters = 0;
	int			line = 1;

	for (int i = 0; i < n; i++)
	{
		bool		breaks = legend_breaks(&entries[i], &characters);

		line += breaks;
		if (breaks)
			appendStringInfoString(out, "</text>\n");
		if (breaks || i == 0)
			appendStringInfo(out, "<text x=\"4\" y=\"%d\">", line * PLOT_LINE - 6);
		appendStringInfo(out, "<tspan class=\"f%c\">%s</tspan> ", INK_LETTERS[entries[i].ink],
						 entries[i].dashed ? "&#8211;&#160;&#8211;" : entries[i].outlined ? "&#9633;" : "&#9632;");
		markup_text(out, entries[i].text);
		appendStringInfoString(out, "&#160;&#160; ");
	}
	if (n > 0)
		appendStringInfoString(out, "</text>\n");
}

/* Draws the axis along the bottom, with lines up to the top, which are 0 apart if there are to be none. */
void
axis_x(StringInfo out, const Scale *scale, int top, int bottom, const char *unit)
{
	double		ticks[TICKS_MAX];
	int			n = scale_ticks(scale, 5, ticks);

	for (int i = 0; i < n; i++)
	{
		double		x = scale_at(scale, ticks[i]);

		appendStringInfo(out, "<path class=\"grid\" d=\"M%s %dV%d\"/>\n", place_text(x), top, bottom);
		svg_text(out, x, bottom + 16, x > PLOT_RIGHT - 24 ? "m e" : "m c", psprintf("%s %s", number_text(ticks[i]), unit));
	}
}

/* Draws the axis along the left side. */
void
axis_y(StringInfo out, const Scale *scale)
{
	double		ticks[TICKS_MAX];
	int			n = scale_ticks(scale, 4, ticks);

	for (int i = 0; i < n; i++)
	{
		double		y = scale_at(scale, ticks[i]);

		appendStringInfo(out, "<path class=\"grid\" d=\"M%d %sH%d\"/>\n", PLOT_LEFT, place_text(y), PLOT_RIGHT);
		svg_text(out, PLOT_LEFT - 6, y + 4, "m e", number_text(ticks[i]));
	}
}

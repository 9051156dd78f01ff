/*
 * svg.h
 *		What the plots have in common: a picture as SVG, its style, its text.
 *
 * Places are in units of a picture that is PLOT_WIDTH wide.  Text is larger on narrow
 * screens; what stands beside it leaves room for that.
 */
#pragma once

#include "lib/stringinfo.h"

#include "plot/scale.h"

#define PLOT_WIDTH		600
#define PLOT_LEFT		54
#define PLOT_RIGHT		590
#define PLOT_LINE		20		/* of text */

/* What a picture is; the texts are not escaped yet. */
typedef struct Picture
{
	const char *id;				/* unique in the page: letters, digits, - and _ */
	const char *title;
	const char *description;
	bool		alone;			/* a file of its own, with its style in it */
} Picture;

/* The colors of what is drawn: the last letter of the classes s (stroke) and f (fill). */
typedef enum Ink
{
	INK_A,
	INK_B,
	INK_C,
	INK_D,
	INK_LIMIT,
	INK_FAINT
} Ink;

#define INK_LETTERS	"abcdlx"

typedef struct LegendEntry
{
	const char *text;
	Ink			ink;
	bool		dashed;
	bool		outlined;		/* not filled */
} LegendEntry;

extern const char *const plot_style;
extern const char *const plot_style_dark;

extern int	legend_height(const LegendEntry *entries, int n);
extern void legend_draw(StringInfo out, const LegendEntry *entries, int n);
extern void picture_begin(StringInfo out, const Picture *picture, int height);
extern void picture_end(StringInfo out);
extern char *place_text(double place);
extern void svg_text(StringInfo out, double x, double y, const char *class, const char *text);
extern void axis_x(StringInfo out, const Scale *scale, int top, int bottom, const char *unit);
extern void axis_y(StringInfo out, const Scale *scale);

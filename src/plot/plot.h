/*
 * plot.h
 *		A plot: a picture that answers for itself, with its table.
 *
 * The struct of each kind begins with a Plot.
 */
#pragma once

#include "plot/svg.h"

struct Plot;

typedef struct PlotType
{
	void		(*draw) (const struct Plot *plot, StringInfo out);	/* as SVG */
	void		(*table) (const struct Plot *plot, StringInfo out); /* what is drawn, as HTML */
} PlotType;

typedef struct Plot
{
	const PlotType *type;
	Picture		picture;
} Plot;

/* A picture, and below it its table, for a page. */
extern void plot_figure(const Plot *plot, StringInfo out);

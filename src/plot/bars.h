/*
 * bars.h
 *		Amounts as bars, each of one or more parts, and their table.
 */
#pragma once

#include "plot/plot.h"

#define BAR_PARTS_MAX	3

typedef struct BarRow
{
	const char *name;
	double		parts[BAR_PARTS_MAX];
} BarRow;

typedef struct BarPlot
{
	Plot		base;
	const char *unit;			/* "" if it has none */
	const char *what;			/* the rows are */
	int			nparts;
	LegendEntry parts[BAR_PARTS_MAX];
	int			nrows;
	const BarRow *rows;
} BarPlot;

extern const PlotType bar_plot;

/*
 * history.h
 *		A value of each of several things in a row, beside a base line: a picture,
 *		and its table.
 */
#pragma once

#include "plot/plot.h"

typedef struct HistoryPlot
{
	Plot		base;
	const char *unit;
	const char *what;			/* the things are, one of them */
	int			n;				/* at least 1 */
	char	  **names;
	const double *values;
	int			marked;			/* which of them is the one that this is about; -1: none */
	double		median;			/* the base line; NaN: there is none */
	double		noise;			/* it is that wide, up and down */
} HistoryPlot;

extern const PlotType history_plot;

/*
 * distribution.h
 *		How values are distributed: a row each of the same scale, and their table.
 */
#pragma once

#include "base/buckets.h"
#include "plot/plot.h"

/* A limit that the values of a row are compared with. */
typedef struct RowLimit
{
	const char *name;
	double		value;
} RowLimit;

typedef struct DistributionRow
{
	const char *name;
	Ink			ink;
	const Buckets *buckets;		/* its values are divided by "divisor" of the plot */
	int			nlimits;
	const RowLimit *limits;
} DistributionRow;

typedef struct DistributionPlot
{
	Plot		base;
	const char *unit;
	double		divisor;
	int			nrows;
	const DistributionRow *rows;	/* none of them is empty */
} DistributionPlot;

extern const PlotType distribution_plot;

/*
 * distribution.h
 *		How values are distributed: a row each of the same scale, and their table.
 *
 * A row has the values of one series, or those of several to be compared.
 */
#pragma once

#include "base/buckets.h"
#include "plot/plot.h"

#define DISTRIBUTION_SERIES_MAX	2

/* A limit that the values of a row are compared with. */
typedef struct RowLimit
{
	const char *name;
	double		value;
} RowLimit;

typedef struct DistributionRow
{
	const char *name;
	const Buckets *buckets[DISTRIBUTION_SERIES_MAX];	/* of each series; their values are divided by "divisor" of the plot */
	int			nlimits;
	const RowLimit *limits;
} DistributionRow;

typedef struct DistributionPlot
{
	Plot		base;
	const char *unit;
	double		divisor;
	int			nseries;
	LegendEntry series[DISTRIBUTION_SERIES_MAX];
	int			nrows;
	const DistributionRow *rows;	/* no buckets of them are empty */
} DistributionPlot;

extern const PlotType distribution_plot;

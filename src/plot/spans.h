/*
 * spans.h
 *		What lasted from when until when, with the moments in it, and its table.
 */
#pragma once

#include "plot/plot.h"

#define MOMENTS_MAX	4

typedef struct Span
{
	const char *name;
	const char *note;			/* above it */
	double		from;
	double		to;
	double		moments[MOMENTS_MAX];	/* in the order of the plot's; NaN: none */
} Span;

typedef struct SpanPlot
{
	Plot		base;
	const char *unit;
	double		from;			/* the time that is shown */
	double		to;
	int			nmoments;
	LegendEntry moments[MOMENTS_MAX];	/* what they are */
	int			nspans;
	const Span *spans;
} SpanPlot;

extern const PlotType span_plot;

/*
 * time_plot.h
 *		Values against time: a picture, and its table.
 *
 * Of many moments a slice of them is drawn and listed by its smallest and its
 * largest value, so no peak is lost.
 */
#pragma once

#include "plot/plot.h"

#define TIME_SERIES_MAX	4

typedef struct TimeSeries
{
	const char *name;
	Ink			ink;
	bool		spikes;			/* each value stands for itself, from 0 up; or else a line joins them */
	bool		filled;			/* down to 0 */
	const double *values;		/* one each moment; NaN: none */
} TimeSeries;

/* A part of the time, with its name. */
typedef struct TimeBand
{
	const char *name;
	double		from;
	double		to;
} TimeBand;

/* A value that is compared with the others from a moment to another one. */
typedef struct TimeLevel
{
	const char *name;			/* of the legend; NULL: that of the level before */
	Ink			ink;
	double		value;
	double		from;
	double		to;
} TimeLevel;

typedef struct TimePlot
{
	Plot		base;
	const char *unit;			/* of time */
	bool		log;			/* values above 0 */
	int			n;
	const double *at;			/* the moments, ascending */
	double		from;			/* the time that is shown */
	double		to;
	int			nseries;
	TimeSeries	series[TIME_SERIES_MAX];
	int			nbands;
	const TimeBand *bands;
	int			nlevels;
	const TimeLevel *levels;
} TimePlot;

extern const PlotType time_plot;

extern void time_plot_health_levels(TimePlot *plot, int capacity);

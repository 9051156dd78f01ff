/*
 * scale.h
 *		From values to places in a plot.
 */
#pragma once

#define TICKS_MAX	16

typedef struct Scale
{
	double		from;			/* values; above 0 if it is logarithmic */
	double		to;
	double		low;			/* their places */
	double		high;
	bool		log;
} Scale;

extern Scale scale_log(double smallest, double largest, double low, double high);
extern double scale_at(const Scale *scale, double value);
extern int	scale_ticks(const Scale *scale, int most, double *ticks);

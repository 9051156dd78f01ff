/*
 * scale.c
 *		From values to places in a plot, and the values that an axis names.
 */
#include "postgres.h"

#include <math.h>

#include "plot/scale.h"

/* A logarithmic scale with some room around these values, which are above 0. */
Scale
scale_log(double smallest, double largest, double low, double high)
{
	return (Scale) {smallest / 1.3, largest * 1.3, low, high, .log = true};
}

static double
share_of(const Scale *scale, double value)
{
	double		span = scale->to - scale->from;

	if (scale->log)
		return log(Max(value, scale->from) / scale->from) / log(scale->to / scale->from);
	return span > 0 ? (value - scale->from) / span : 0;
}

/* Returns the place of a value; one beyond the scale is at its end. */
double
scale_at(const Scale *scale, double value)
{
	double		share = share_of(scale, value);

	return scale->low + Min(Max(share, 0), 1) * (scale->high - scale->low);
}

/* Returns 1, 2, 5 or 10 times a power of ten: the next one that is not smaller. */
static double
round_step(double step)
{
	double		power = pow(10, floor(log10(step)));

	for (int i = 0; i < 3; i++)
		if (step <= (int[]) {1, 2, 5}[i] * power * (1 + 1e-9))
			return (int[]) {1, 2, 5}[i] * power;
	return 10 * power;
}

static int
linear_ticks(const Scale *scale, int most, double *ticks)
{
	double		step = round_step(Max(scale->to - scale->from, 1e-9) / most);
	double		first = ceil(scale->from / step - 1e-9) + 0.0;	/* no -0 */
	int			n = 0;

	while (n < TICKS_MAX && (first + n) * step <= scale->to * (1 + 1e-9))
	{
		ticks[n] = (first + n) * step;
		n++;
	}
	return n;
}

/* Powers of ten, or 1, 2 and 5 times these where there are few of them. */
static int
log_ticks(const Scale *scale, int most, double *ticks)
{
	double		decades = log10(scale->to / scale->from);
	int			every = (int) ceil(decades / most);
	int			n = 0;

	for (int power = (int) floor(log10(scale->from)); n < TICKS_MAX && pow(10, power) <= scale->to; power += every)
		for (int i = 0; i < (decades * 3 <= most ? 3 : 1); i++)
		{
			double		tick = (int[]) {1, 2, 5}[i] * pow(10, power);

			if (n < TICKS_MAX && tick >= scale->from && tick <= scale->to)
				ticks[n++] = tick;
		}
	return n;
}

/* Puts the values that its axis names into "ticks", which has TICKS_MAX: about "most" of them; returns how many. */
int
scale_ticks(const Scale *scale, int most, double *ticks)
{
	return scale->log ? log_ticks(scale, most, ticks) : linear_ticks(scale, most, ticks);
}

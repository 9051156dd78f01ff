/*
 * slices.c
 *		Many moments as few slices of time, without losing a peak.
 */
#include "postgres.h"

#include <math.h>

#include "plot/slices.h"

/* Returns the slices of so many moments, which ascend; those without one are left out.  palloc'd. */
Slices *
slices_of(int n, const double *at)
{
	Slices	   *slices = palloc0(sizeof(Slices));
	double		span = n > 0 ? at[n - 1] - at[0] : 0;
	int			last = -1;

	for (int i = 0; i < n; i++)
	{
		int			place = n <= SLICES_MAX ? i
			: span > 0 ? (int) ((at[i] - at[0]) / span * (SLICES_MAX - 1)) : 0;

		if (place != last)
			slices->slices[slices->n++] = (Slice) {.first = i};
		slices->slices[slices->n - 1].n++;
		last = place;
	}
	return slices;
}

/* Returns the moment of the smallest value in it; -1 if it has none. */
int
slice_smallest(const Slice *slice, const double *values)
{
	int			found = -1;

	for (int i = slice->first; i < slice->first + slice->n; i++)
		if (!isnan(values[i]) && (found < 0 || values[i] < values[found]))
			found = i;
	return found;
}

/* The same of the largest. */
int
slice_largest(const Slice *slice, const double *values)
{
	int			found = -1;

	for (int i = slice->first; i < slice->first + slice->n; i++)
		if (!isnan(values[i]) && (found < 0 || values[i] > values[found]))
			found = i;
	return found;
}

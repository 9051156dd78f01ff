/*
 * slices.h
 *		Many moments as few slices of time, without losing a peak.
 */
#pragma once

/* So many are drawn and listed; fewer moments are slices of their own. */
#define SLICES_MAX	100

/* Moments from "first" on, "n" of them. */
typedef struct Slice
{
	int			first;
	int			n;
} Slice;

typedef struct Slices
{
	int			n;
	Slice		slices[SLICES_MAX];
} Slices;

extern Slices *slices_of(int n, const double *at);
extern int	slice_smallest(const Slice *slice, const double *values);
extern int	slice_largest(const Slice *slice, const double *values);

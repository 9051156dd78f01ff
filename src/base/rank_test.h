/*
 * rank_test.h
 *		Do two samples come from the same distribution?  And the middle of one.
 *
 * Of numbers that are not NaN.  A sample is sorted in place by what needs that.
 */
#pragma once

extern double rank_test(int nbase, const double *base, int ncandidate, const double *candidate, bool exact_ties);
extern double sample_median(int n, double *sample);
extern double sample_mad(int n, double *sample);

/*
 * buckets.h
 *		A histogram as table pool_exhaust_histograms has it: bigint[][2], a row a
 *		bucket that is not empty, ascending: its largest value and its count.
 */
#pragma once

typedef struct Buckets
{
	int			n;
	const int64 *pairs;			/* value and count, n of them */
} Buckets;

extern Datum buckets_datum(int n, const int64 *pairs);
extern Buckets buckets_of(Datum array);
extern double buckets_count(const Buckets *buckets);
extern double buckets_percentile(const Buckets *buckets, double fraction);
extern double buckets_noise(const Buckets *buckets, double fraction);
extern Buckets buckets_merge(const Buckets *a, const Buckets *b);

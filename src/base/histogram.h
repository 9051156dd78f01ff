/*
 * histogram.h
 *		A log-linear histogram of latencies, mergeable, of fixed size.
 */
#pragma once

#define HISTOGRAM_SUB_BITS	5	/* 32 steps an octave: 3.2 % relative error */
#define HISTOGRAM_OCTAVES	36	/* 1 us up to 19 hours */
#define HISTOGRAM_BUCKETS	((HISTOGRAM_OCTAVES + 1) << HISTOGRAM_SUB_BITS)

/* All zero is an empty histogram. */
typedef struct Histogram
{
	uint64		count;
	uint64		max_us;
	uint32		buckets[HISTOGRAM_BUCKETS];
} Histogram;

extern void histogram_add(Histogram *h, uint64 us);
extern void histogram_add_pair(Histogram *h, uint64 us, uint64 count);
extern void histogram_merge(Histogram *into, const Histogram *from);
extern double histogram_ms(const Histogram *h, double quantile);
extern double histogram_max_ms(const Histogram *h);
extern int	histogram_pairs(const Histogram *h, int64 *pairs);

/*
 * histogram.c
 *		A log-linear histogram of latencies.
 *
 * Each octave is cut into 2^HISTOGRAM_SUB_BITS equal steps, as in Gil Tene's
 * HdrHistogram, so that the relative error is the same for a refusal of 1 ms
 * and a timeout of 30 s.  Values are microseconds.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"

#include "base/histogram.h"

#define STEPS (1 << HISTOGRAM_SUB_BITS)

static int
histogram_bucket(uint64 us)
{
	int			octave;

	if (us < STEPS)
		return (int) us;
	octave = pg_leftmost_one_pos64(us) - HISTOGRAM_SUB_BITS;
	if (octave >= HISTOGRAM_OCTAVES)
		return HISTOGRAM_BUCKETS - 1;
	return ((octave + 1) << HISTOGRAM_SUB_BITS) + (int) ((us >> octave) - STEPS);
}

/* The largest value that falls into the bucket. */
static uint64
histogram_upper(int bucket)
{
	int			octave = (bucket >> HISTOGRAM_SUB_BITS) - 1;

	if (octave < 0)
		return bucket;
	return (((uint64) (bucket & (STEPS - 1)) + STEPS + 1) << octave) - 1;
}

void
histogram_add(Histogram *h, uint64 us)
{
	h->count++;
	h->max_us = Max(h->max_us, us);
	h->buckets[histogram_bucket(us)]++;
}

/*
 * Adds one of the pairs that histogram_pairs() has made of another one.  When all are
 * added that other one is merged, bit for bit.
 */
void
histogram_add_pair(Histogram *h, uint64 us, uint64 count)
{
	h->count += count;
	h->max_us = Max(h->max_us, us);
	h->buckets[histogram_bucket(us)] += (uint32) count;
}

/* Adds all of "from": as if each of its values had been added to "into". */
void
histogram_merge(Histogram *into, const Histogram *from)
{
	into->count += from->count;
	into->max_us = Max(into->max_us, from->max_us);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

/*
 * Returns the quantile (0 to 1) in milliseconds, at most 3.2 % too large and
 * never larger than the maximum; 0 if the histogram is empty.
 */
double
histogram_ms(const Histogram *h, double quantile)
{
	uint64		rank = (uint64) (quantile * h->count);
	uint64		seen = 0;

	if (h->count == 0)
		return 0;
	rank = Min(rank, h->count - 1);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
	{
		seen += h->buckets[i];
		if (seen > rank)
			return Min(histogram_upper(i), h->max_us) / 1000.0;
	}
	return histogram_max_ms(h);
}

double
histogram_max_ms(const Histogram *h)
{
	return h->max_us / 1000.0;
}

/*
 * Puts the buckets that are not empty into "pairs", which has room for twice
 * HISTOGRAM_BUCKETS: the largest value of each, in us, and its count.  The last of
 * those values is the maximum.  Returns how many buckets there are.
 */
int
histogram_pairs(const Histogram *h, int64 *pairs)
{
	int			n = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
	{
		if (h->buckets[i] == 0)
			continue;
		pairs[2 * n] = (int64) Min(histogram_upper(i), h->max_us);
		pairs[2 * n + 1] = h->buckets[i];
		n++;
	}
	return n;
}

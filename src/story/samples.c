/*
 * samples.c
 *		The state of a run's pool over time, in bounded space.
 */
#include "postgres.h"

#include "story/samples.h"

/* The later sample stands for both, with the higher of the peaks. */
static Sample
sample_merge(const Sample *earlier, const Sample *later)
{
	Sample		merged = *later;

	merged.in_use = Max(earlier->in_use, later->in_use);
	merged.waiting = Max(earlier->waiting, later->waiting);
	merged.health = Max(earlier->health, later->health);
	return merged;
}

static void
samples_halve(SampleSeries *series)
{
	for (int i = 0; i < SAMPLES_MAX / 2; i++)
		series->samples[i] = sample_merge(&series->samples[2 * i],
											&series->samples[2 * i + 1]);
	series->n = SAMPLES_MAX / 2;
	series->stride *= 2;
}

/* Takes a sample.  Allocates nothing and throws nothing. */
void
samples_add(SampleSeries *series, const Sample *sample)
{
	if (series->stride == 0)
		series->stride = series->offers = 1;

	if (series->offers < series->stride)
	{
		Sample	   *last = &series->samples[series->n - 1];

		*last = sample_merge(last, sample);
		series->offers++;
		return;
	}
	if (series->n == SAMPLES_MAX)
		samples_halve(series);
	series->samples[series->n++] = *sample;
	series->offers = 1;
}

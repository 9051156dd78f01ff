/*
 * samples.c
 *		What a run looked like over time, in bounded space.
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
timeline_halve(Timeline *timeline)
{
	for (int i = 0; i < TIMELINE_MAX / 2; i++)
		timeline->samples[i] = sample_merge(&timeline->samples[2 * i],
											&timeline->samples[2 * i + 1]);
	timeline->n = TIMELINE_MAX / 2;
	timeline->stride *= 2;
}

/* Takes a sample.  Allocates nothing and throws nothing. */
void
timeline_add(Timeline *timeline, const Sample *sample)
{
	if (timeline->stride == 0)
		timeline->stride = timeline->offers = 1;

	if (timeline->offers < timeline->stride)
	{
		Sample	   *last = &timeline->samples[timeline->n - 1];

		*last = sample_merge(last, sample);
		timeline->offers++;
		return;
	}
	if (timeline->n == TIMELINE_MAX)
		timeline_halve(timeline);
	timeline->samples[timeline->n++] = *sample;
	timeline->offers = 1;
}

/*
 * samples.h
 *		The state of a run's pool over time, in bounded space.
 */
#pragma once

#include "datatype/timestamp.h"

#include "base/health.h"

#define SAMPLES_MAX	512

typedef struct Sample
{
	TimestampTz at;
	int			in_use;
	int			waiting;
	int64		granted;
	int64		refused;
	int64		timed_out;
	double		p50_ms;
	double		p99_ms;
	Health		health;
} Sample;

/*
 * When the timeline is full, each pair of samples becomes one and from then
 * on only every second offer is taken, and so on.
 */
typedef struct SampleSeries
{
	Sample		samples[SAMPLES_MAX];
	int			n;
	int			stride;			/* offers to a sample; 0 counts as 1 */
	int			offers;			/* since the last sample was begun */
	int			capacity;		/* of the pool, for utilization */
} SampleSeries;

extern void samples_add(SampleSeries *series, const Sample *sample);

/*
 * arrival.h
 *		When the clients of an open-loop load come: a schedule from a seed.
 */
#pragma once

#include "common/pg_prng.h"

#include "base/option_words.h"

/* The streams of random numbers of a run, so that one does not shift another. */
typedef enum RandomStream
{
	RANDOM_ARRIVALS = 1,
	RANDOM_HOLDS,
	RANDOM_FAILURES,
	RANDOM_CHAOS,
	RANDOM_RETRIES
} RandomStream;

#define RANDOM_STREAMS	16		/* a seed has room for so many */

typedef struct Arrival
{
	/* Set by the user, before arrival_begin(). */
	ArrivalKind kind;
	double		rate;			/* a second; of a ramp, at its end */
	double		burst_rate;
	uint64		duration_us;
	uint64		burst_us;		/* a burst is that long, at the end of each ... */
	uint64		burst_every_us;
	double		early;			/* constant: so much of a gap the first comes earlier */

	/* The state of the schedule. */
	pg_prng_state prng;
	double		sum;			/* of the gaps so far, at one arrival a unit */
} Arrival;

extern void random_stream(pg_prng_state *prng, int64 seed, RandomStream stream);
extern double random_exponential(pg_prng_state *prng);

extern void arrival_begin(Arrival *arrival, int64 seed);
extern bool arrival_next(Arrival *arrival, uint64 *offset_us);
extern int	arrival_expected(const Arrival *arrival);
extern bool arrival_in_burst(const Arrival *arrival, uint64 offset_us);

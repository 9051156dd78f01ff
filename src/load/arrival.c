/*
 * arrival.c
 *		When the clients of an open-loop load come: a schedule from a seed.
 *
 * Every schedule is a sequence of one arrival a unit, at regular or exponential
 * gaps, bent by the inverse of the number of arrivals that are expected by a
 * moment.  Which clients come when does not depend on how those before them
 * fare, so a stall delays their service and not their coming.
 */
#include "postgres.h"

#include <math.h>

#include "load/arrival.h"

#define US 1e6

/* Begins a stream of random numbers of a run; the same ones for the same seed. */
void
random_stream(pg_prng_state *prng, int64 seed, RandomStream stream)
{
	pg_prng_seed(prng, (uint64) seed * RANDOM_STREAMS + stream);
}

/* Returns an exponential variate of mean 1. */
double
random_exponential(pg_prng_state *prng)
{
	return -log(1.0 - pg_prng_double(prng));
}

void
arrival_begin(Arrival *arrival, int64 seed)
{
	Assert(arrival->rate > 0);
	Assert(arrival->kind != ARRIVAL_BURST ||
		   (arrival->burst_rate > 0 && arrival->burst_us < arrival->burst_every_us));
	random_stream(&arrival->prng, seed, RANDOM_ARRIVALS);
	arrival->sum = -arrival->early;
}

/* The rate rises evenly from 0 to "rate": n = rate * t^2 / (2 * duration). */
static double
ramp_moment(const Arrival *arrival, double n)
{
	return sqrt(2 * n * (arrival->duration_us / US) / arrival->rate);
}

/* How many come in one period of "rate" with "burst_rate" at its end. */
static double
burst_expected(const Arrival *arrival)
{
	return ((arrival->burst_every_us - arrival->burst_us) * arrival->rate +
			arrival->burst_us * arrival->burst_rate) / US;
}

static double
burst_moment(const Arrival *arrival, double n)
{
	double		period = arrival->burst_every_us / US;
	double		calm = period - arrival->burst_us / US;
	double		each = burst_expected(arrival);
	double		periods = floor(n / each);
	double		rest = n - periods * each;

	if (rest < calm * arrival->rate)
		return periods * period + rest / arrival->rate;
	return periods * period + calm + (rest - calm * arrival->rate) / arrival->burst_rate;
}

/* Returns how many should come in all, on average; PG_INT32_MAX stands for more. */
int
arrival_expected(const Arrival *arrival)
{
	double		n = arrival->rate * arrival->duration_us / US;

	if (arrival->kind == ARRIVAL_RAMP)
		n /= 2;
	else if (arrival->kind == ARRIVAL_BURST)
		n = burst_expected(arrival) * arrival->duration_us / arrival->burst_every_us;
	return (int) Min(n, PG_INT32_MAX);
}

/*
 * Computes when the next one comes, in microseconds after the begin.  False
 * when the schedule is over.
 */
bool
arrival_next(Arrival *arrival, uint64 *offset_us)
{
	double		moment = 0;

	arrival->sum += arrival->kind == ARRIVAL_CONSTANT ? 1 : random_exponential(&arrival->prng);
	switch (arrival->kind)
	{
		case ARRIVAL_POISSON:
		case ARRIVAL_CONSTANT:
			moment = arrival->sum / arrival->rate;
			break;
		case ARRIVAL_RAMP:
			moment = ramp_moment(arrival, arrival->sum);
			break;
		case ARRIVAL_BURST:
			moment = burst_moment(arrival, arrival->sum);
			break;
	}
	*offset_us = (uint64) (moment * US);
	return *offset_us < arrival->duration_us;
}

/* Returns whether that moment of the schedule is in a burst. */
bool
arrival_in_burst(const Arrival *arrival, uint64 offset_us)
{
	return arrival->kind == ARRIVAL_BURST &&
		offset_us % arrival->burst_every_us >= arrival->burst_every_us - arrival->burst_us;
}

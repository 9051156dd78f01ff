/*
 * publish.c
 *		What the views show of a run's application-style pools.
 *
 * The numbers are those of the last turn of the loop, so they are exact while
 * nothing happens; percentiles and health are as old as the run's last sample.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "shmem/run_pool.h"
#include "story/story.h"

/* Returns how many requests were refused or timed out. */
uint64
run_not_granted(const PoolStats *stats)
{
	return stats->refused + stats->timed_out;
}

/* Adds up the connection seconds in use, by what was published. */
static void
party_meter(RunParty *party, uint64 now_us)
{
	if (party->metered_us != 0)
		party->in_use_s += (now_us - party->metered_us) / 1e6 * party->published.in_use;
	party->metered_us = now_us;
}

static void
party_publish(RunParty *party, uint64 now_us)
{
	const PoolStats *stats = &party->pool->stats;
	RunPool    *published = &party->published;
	PoolState	truth;

	pool_read_state(party->pool, &truth);
	party_meter(party, now_us);
	published->capacity = truth.capacity;
	published->in_use = truth.in_use;
	published->idle = truth.idle;
	published->overflow = truth.overflow;
	published->waiting = truth.waiting;
	published->oldest_us = truth.oldest_us;
	published->granted = truth.granted;
	published->refused = stats->refused;
	published->timed_out = stats->timed_out;
	if (truth.in_use > published->peak_in_use)
	{
		published->peak_in_use = truth.in_use;
		published->peak_at = GetCurrentTimestamp();
	}
	if (stats->released > party->released)
		releases_add(&party->releases, (int) (stats->released - party->released), now_us);
	party->released = stats->released;
}

/* Publishes the state of the run's pools to the views. */
void
run_publish(Run *run)
{
	RunPool		pools[RUN_PARTIES_MAX];
	uint64		now_us = loop_now_us();
	int			n = 0;

	for (int i = 0; i < run->nparties; i++)
	{
		RunParty   *party = &run->parties[i];

		if (party->pool == NULL || !(party->pool->type->queues || party->endpoint != NULL))
			continue;
		party_publish(party, now_us);
		pools[n++] = party->published;
	}
	if (n > 0)
		run_pools_write(run->entry, pools, n);
}

/* Judges the health of the party's pool, and publishes that and its percentiles: with each sample. */
void
party_sample(RunParty *party, const PoolState *truth)
{
	RunPool    *published = &party->published;
	const PoolStats *stats = &party->pool->stats;
	const Histogram *waits = &party->pool->waits;

	published->health = health_judge(&party->judge, truth->in_use, truth->capacity,
									 run_not_granted(stats) > party->not_granted_judged);
	party->not_granted_judged = run_not_granted(stats);
	published->wait_p50_ms = histogram_ms(waits, 0.50);
	published->wait_p95_ms = histogram_ms(waits, 0.95);
	published->wait_p99_ms = histogram_ms(waits, 0.99);
	published->wait_max_ms = histogram_max_ms(waits);
	published->retry_after_s = releases_retry_after_s(&party->releases, truth->waiting, loop_now_us());
}

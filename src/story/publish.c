/*
 * publish.c
 *		What the views show of a run's application-style pools.
 *
 * The numbers are those of the last turn of the loop, so whoever looks while
 * nothing happens sees them exact; percentiles and health are as old as the
 * run's last sample.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "shmem/run_pool.h"
#include "story/story.h"

/* Those who were sent away for lack of capacity. */
uint64
run_sent_away(const PoolStats *stats)
{
	return stats->refused + stats->timed_out;
}

/* How many connection seconds were in use till now, by what was published. */
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

/* Tells the views what the run's pools look like now. */
void
run_publish(Run *run)
{
	RunPool		pools[RUN_PARTIES_MAX];
	uint64		now_us = loop_now_us();
	int			n = 0;

	for (int i = 0; i < run->nparties; i++)
	{
		RunParty *party = &run->parties[i];

		if (party->pool == NULL || !(party->pool->driver->queues || party->endpoint != NULL))
			continue;
		party_publish(party, now_us);
		pools[n++] = party->published;
	}
	if (n > 0)
		run_pools_write(run->entry, pools, n);
}

/* What takes longer to work out is published with each sample. */
void
party_sample(RunParty *party, const PoolState *truth)
{
	RunPool    *published = &party->published;
	const PoolStats *stats = &party->pool->stats;
	const Histogram *waits = &party->pool->waits;

	published->health = health_judge(&party->judge, truth->in_use, truth->capacity,
									 run_sent_away(stats) > party->sent_away_judged);
	party->sent_away_judged = run_sent_away(stats);
	published->wait_p50_ms = histogram_ms(waits, 0.50);
	published->wait_p95_ms = histogram_ms(waits, 0.95);
	published->wait_p99_ms = histogram_ms(waits, 0.99);
	published->wait_max_ms = histogram_max_ms(waits);
	published->retry_after_s = releases_retry_after_s(&party->releases, truth->waiting, loop_now_us());
}

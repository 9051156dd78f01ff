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
service_meter(RunService *service, uint64 now_us)
{
	if (service->metered_us != 0)
		service->in_use_s += (now_us - service->metered_us) / 1e6 * service->published.in_use;
	service->metered_us = now_us;
}

static void
service_publish(RunService *service, uint64 now_us)
{
	const PoolStats *stats = &service->pool->stats;
	RunPool    *published = &service->published;
	PoolTruth	truth;

	pool_look(service->pool, &truth);
	service_meter(service, now_us);
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
	if (stats->released > service->released)
		releases_add(&service->releases, (int) (stats->released - service->released), now_us);
	service->released = stats->released;
}

/* Tells the views what the run's pools look like now. */
void
run_publish(Run *run)
{
	RunPool		pools[RUN_SERVICES_MAX];
	uint64		now_us = loop_now_us();
	int			n = 0;

	for (int i = 0; i < run->nservices; i++)
	{
		RunService *service = &run->services[i];

		if (service->pool == NULL || !(service->pool->driver->queues || service->endpoint != NULL))
			continue;
		service_publish(service, now_us);
		pools[n++] = service->published;
	}
	if (n > 0)
		run_pools_write(run->slot, pools, n);
}

/* What takes longer to work out is published with each sample. */
void
service_sample(RunService *service, const PoolTruth *truth)
{
	RunPool    *published = &service->published;
	const PoolStats *stats = &service->pool->stats;
	const Histogram *waits = &service->pool->waits;

	published->health = health_judge(&service->judge, truth->in_use, truth->capacity,
									 run_sent_away(stats) > service->sent_away_judged);
	service->sent_away_judged = run_sent_away(stats);
	published->wait_p50_ms = histogram_ms(waits, 0.50);
	published->wait_p95_ms = histogram_ms(waits, 0.95);
	published->wait_p99_ms = histogram_ms(waits, 0.99);
	published->wait_max_ms = histogram_max_ms(waits);
	published->retry_after_s = releases_retry_after_s(&service->releases, truth->waiting, loop_now_us());
}

/*
 * fleet.c
 *		Processes with a pool each, and the requests that they share.
 */
#include "pools.h"

#include <math.h>

void
fleet_add(Fleet *fleet)
{
	if (fleet->n == FLEET_MAX)
		die("too many processes");
	fleet->pools[fleet->n] = NULL;
	fleet->weights[fleet->n] = 1;
	fleet->weight += 1;
	fleet->n++;
	fleet_replace(fleet, fleet->n - 1);
}

/* A process is started in the place of one that ends. */
void
fleet_replace(Fleet *fleet, int i)
{
	Pool	   *pool;

	if (fleet->pools[i] != NULL)
		pool_kill(fleet->pools[i]);
	fleet->service->processes = Max(fleet->service->processes, fleet->n);
	pool = fleet->pools[i] = pool_new(fleet->policy, fleet->service, fleet->what);
	pool->leaky = true;
	if (fleet->quota > 0)		/* max_requests_jitter */
		pool->quota = (int) (fleet->quota * between(0.9, 1.1));
}

Fleet *
fleet_new(const Policy *policy, Service *service, const char *what, int n)
{
	Fleet	   *fleet = world_alloc(sizeof(Fleet));

	fleet->policy = policy;
	fleet->service = service;
	fleet->what = what;
	while (fleet->n < n)
		fleet_add(fleet);
	return fleet;
}

/* Processes end after so many requests. */
void
fleet_quota(Fleet *fleet, int quota)
{
	fleet->quota = quota;
	for (int i = 0; i < fleet->n; i++)
		fleet_replace(fleet, i);
}

/* Each process has so much less to do than the one before it. */
void
fleet_uneven(Fleet *fleet, double factor)
{
	fleet->weight = 0;
	for (int i = 0; i < fleet->n; i++)
		fleet->weight += fleet->weights[i] = pow(factor, i);
}

static int
fleet_choose(const Fleet *fleet)
{
	double		x = uniform() * fleet->weight;

	if (fleet->first_free)
	{
		for (int i = 0; i < fleet->n; i++)
			if (fleet->pools[i]->busy == 0 && chance(0.8))
				return i;
	}
	for (int i = 0; i < fleet->n - 1; i++)
	{
		if (x < fleet->weights[i])
			return i;
		x -= fleet->weights[i];
	}
	return fleet->n - 1;
}

static void
fleet_next(void *what, int64 arg)
{
	Fleet	   *fleet = what;
	double		rate = fleet->stopped ? 0 : fleet->scale * fleet->rate(world.now_us - HOUR);
	int			i;

	/* Rates change slowly against a second. */
	if (rate < 1e-6)
	{
		after(SECOND, fleet_next, fleet, 0);
		return;
	}
	if (arg == 1)
	{
		i = fleet_choose(fleet);
		if (fleet->pools[i]->quota > 0 && fleet->pools[i]->busy == 0 &&
			fleet->pools[i]->served >= fleet->pools[i]->quota)
			fleet_replace(fleet, i);
		pool_request(fleet->pools[i], fleet->shape);
	}
	if (chance(exp(-rate)))
		after(SECOND, fleet_next, fleet, 0);
	else						/* within a second, by the rate of now */
		after((uint64) (-log(1 - uniform() * (1 - exp(-rate))) / rate * SECOND), fleet_next, fleet, 1);
}

void
fleet_load(Fleet *fleet, Rate rate, double scale, const Shape *shape)
{
	fleet->rate = rate;
	fleet->scale = scale;
	fleet->shape = shape;
	after(SECOND, fleet_next, fleet, 0);
}

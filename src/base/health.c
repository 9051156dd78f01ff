/*
 * health.c
 *		Utilization and refusals -> health, with hysteresis.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/health.h"

/* Health improves when utilization stays this far below the threshold ... */
#define HYSTERESIS	0.05
/* ... for this many samples in a row. */
#define CALM_SAMPLES 2

const char *const health_names[HEALTHS] = {HEALTH_LIST(LIST_WORD)};

double		warning_threshold = 0.80;
double		critical_threshold = 0.95;

void
health_init(void)
{
	DefineCustomRealVariable("pool_exhaust.warning_threshold",
							 "Utilization at which a pool's health becomes warning.",
							 "1.0 is full.",
							 &warning_threshold, 0.80, 0.0, 1.0,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("pool_exhaust.critical_threshold",
							 "Utilization at which a pool's health becomes critical.",
							 "1.0 is full.",
							 &critical_threshold, 0.95, 0.0, 1.0,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static Health
health_with_margin(int in_use, int capacity, bool refused, double margin)
{
	double		utilization;

	/* CONNECTION LIMIT 0 closes a pool: it refuses on purpose. */
	if (capacity == 0)
		return HEALTH_HEALTHY;
	if (refused || in_use >= capacity)
		return HEALTH_EXHAUSTED;
	utilization = (double) in_use / capacity + margin;
	if (utilization >= critical_threshold)
		return HEALTH_CRITICAL;
	if (utilization >= warning_threshold)
		return HEALTH_WARNING;
	return HEALTH_HEALTHY;
}

/*
 * Returns the health of this moment alone.  "refused" says that a login was
 * refused or timed out for lack of capacity since the last sample.
 */
Health
health_of(int in_use, int capacity, bool refused)
{
	return health_with_margin(in_use, capacity, refused, 0.0);
}

/* Returns the health that a pool which was worse gets better to, at this in_use. */
Health
health_after_worse(int in_use, int capacity)
{
	return health_with_margin(in_use, capacity, false, HYSTERESIS);
}

/* Takes one sample into account and returns the health that now stands. */
Health
health_judge(HealthJudge *judge, int in_use, int capacity, bool refused)
{
	Health		now = health_of(in_use, capacity, refused);
	Health		relaxed = health_with_margin(in_use, capacity, refused, HYSTERESIS);

	if (now >= judge->health)
	{
		judge->health = now;
		judge->calm = 0;
	}
	else if (relaxed >= judge->health)
		judge->calm = 0;
	else if (++judge->calm >= CALM_SAMPLES)
	{
		judge->health = relaxed;
		judge->calm = 0;
	}
	return judge->health;
}

/*
 * Returns the smallest in_use at which health_of() is at least "health".  May
 * be the capacity itself: a pool of three is never just warning.
 */
int
health_level(Health health, int capacity)
{
	for (int in_use = 0; in_use < capacity; in_use++)
		if (health_of(in_use, capacity, false) >= health)
			return in_use;
	return capacity;
}

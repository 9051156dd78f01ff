/*
 * health.h
 *		Utilization and refusals -> health.
 */
#pragma once

#include "base/words.h"

/* From the best to the worst. */
#define HEALTH_LIST(ROW) \
	ROW(HEALTH_HEALTHY, "healthy") \
	ROW(HEALTH_WARNING, "warning") \
	ROW(HEALTH_CRITICAL, "critical") \
	ROW(HEALTH_EXHAUSTED, "exhausted")

typedef enum Health
{
	HEALTH_LIST(LIST_MEMBER)
} Health;

#define HEALTHS LIST_COUNT(HEALTH_LIST)

extern const char *const health_names[HEALTHS];

extern double warning_threshold;
extern double critical_threshold;

/* Health with a memory: it worsens at once and improves slowly. */
typedef struct HealthJudge
{
	Health		health;
	int			calm;			/* samples in a row that were clearly better */
} HealthJudge;

extern void health_init(void);
extern Health health_of(int in_use, int capacity, bool refused);
extern Health health_after_worse(int in_use, int capacity);
extern Health health_judge(HealthJudge *judge, int in_use, int capacity, bool refused);

/* The smallest number in use at which a pool of this capacity is that ill. */
extern int	health_level(Health health, int capacity);

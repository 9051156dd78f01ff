/*
 * health.h
 *		Utilization and refusals -> health.
 */
#ifndef POOL_EXHAUST_BASE_HEALTH_H
#define POOL_EXHAUST_BASE_HEALTH_H

typedef enum Health
{
	HEALTH_HEALTHY,
	HEALTH_WARNING,
	HEALTH_CRITICAL,
	HEALTH_EXHAUSTED
} Health;

#define HEALTHS (HEALTH_EXHAUSTED + 1)

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

#endif							/* POOL_EXHAUST_BASE_HEALTH_H */

/*
 * cost.c
 *		What one observation at 1,900 sessions costs in CPU: the judging alone.
 */
#include "score.h"

#include <time.h>

#define SESSIONS	1900
#define OBSERVATIONS		600
#define OBSERVE_US		(200 * MS)
#define MOST_US		1000
#define THRESHOLD_MS 10000
#define COME		100			/* the observation in which newer ones come */

typedef struct Load
{
	const char *name;
	int			services;
	int			moved;			/* of 100 sessions, at each observation */
	int			replaced;		/* of 1,000 sessions, at each observation */
	int			forgotten;		/* sessions that are opened at 3 an observation and used once */
	int			left;			/* sessions that were used before the others were opened */
} Load;

static const Load loads[] = {
	{"one service, all idle", 1, 0, 0},
	{"1,900 services, all idle", SESSIONS, 0, 0},
	{"one service, all move", 1, 100, 0},
	{"1,900 services, all move", SESSIONS, 100, 0},
	{"20 services, half move", 20, 50, 0},
	{"one service, 1 of 10 moves", 1, 10, 0},
	{"one service, churning", 1, 30, 200},
	{"one service, a few churn", 1, 30, 5},
	{"one service, all replaced", 1, 0, 1000},
	{"1,900 services, churning", SESSIONS, 30, 200},
	{"one service, 950 forgotten", 1, 100, 0, 950, 0},
	{"one service, 300 abandoned", 1, 100, 0, 0, 300},
};

static LeakObservation observations[SESSIONS];

static double
cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* The observation in which the session of a slot comes. */
static int
comes_at(const Load *load, int slot)
{
	if (slot < load->forgotten)
		return slot / 3;
	return slot >= load->left && load->left > 0 ? COME : 0;
}

static bool
moves(const Load *load, int slot, int observation)
{
	if (slot < load->forgotten)
		return false;
	if (slot < load->left)
		return observation < COME;
	return below(100) < load->moved;
}

static void
observations_change(const Load *load, uint64 now_us, int observation)
{
	static int	pid;

	for (int i = 0; i < SESSIONS; i++)
	{
		if (observation == comes_at(load, i) || below(1000) < load->replaced)
			observations[i] = (LeakObservation)
		{
			.pid = ++pid, .started = now_us, .state_since = now_us, .state = SLOT_IDLE,
			.service = UINT64CONST(0x9E3779B97F4A7C15) * (i % load->services + 1),
			.threshold_ms = THRESHOLD_MS
		};
		else if (moves(load, i, observation))
		{
			observations[i].state_since = now_us - below(150 * MS);
			observations[i].state = chance(0.8) ? SLOT_IDLE : SLOT_ACTIVE;
		}
	}
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Returns whether the median is below the target. */
static bool
cost_of(LeakWatch *watch, const Load *load)
{
	double		took_us[OBSERVATIONS];
	double		sum_us = 0;
	int			suspects = 0;
	uint64		now_us = HOUR;

	watch_clear(watch);
	for (int i = 0; i < OBSERVATIONS; i++, now_us += OBSERVE_US)
	{
		observations_change(load, now_us, i);
		took_us[i] = cpu_us();
		leak_observation_begin(watch, now_us, LEAK_ON_TIME);
		for (int slot = 0; slot < SESSIONS; slot++)
			watch_note(watch, slot, i < comes_at(load, slot) ? NULL : &observations[slot], now_us);
		leak_judge(watch);
		sum_us += took_us[i] = cpu_us() - took_us[i];
	}
	qsort(took_us, OBSERVATIONS, sizeof(double), compare);
	for (int slot = 0; slot < SESSIONS; slot++)
		suspects += watch->sessions[slot].rule != LEAK_NONE;
	printf("%-28s %9.1f %9.1f %9.1f %9.1f  %8d   < %d us\n", load->name, took_us[OBSERVATIONS / 2],
		   sum_us / OBSERVATIONS, took_us[OBSERVATIONS * 99 / 100], took_us[OBSERVATIONS - 1],
		   suspects, MOST_US);
	return took_us[OBSERVATIONS / 2] < MOST_US;
}

bool
cost_run(void)
{
	LeakWatch  *watch = watch_new(SESSIONS);
	bool		good = true;

	world_begin(1);
	printf("%-28s %9s %9s %9s %9s  %8s\n", "1,900 sessions, us an observation", "median", "mean", "p99", "max",
		   "suspects");
	for (int i = 0; i < lengthof(loads); i++)
		good &= cost_of(watch, &loads[i]);
	putchar('\n');
	return good;
}

/*
 * watch.c
 *		The run's pool as the monitor sees it: the path that its health took,
 *		and how long the monitor took to notice.
 */
#include "postgres.h"

#include "observe/monitor/health_log.h"
#include "observe/monitor/pools.h"
#include "shmem/monitor_status.h"
#include "story/story.h"
#include "story/target_type.h"

/* A monitor that samples less often than this is not waited for. */
#define INTERVAL_MAX_MS		2000

/* Health gets better after two samples; a busy machine may be late. */
#define NOTICE_TIMEOUT_MS	(3 * sample_interval + 3000)

/* Reads the changes of health since; returns whether it is in this range now. */
static bool
watch_read(Run *run, Health at_least, Health at_most)
{
	Watch	   *watch = &run->watch;
	HealthChange t;

	while (health_log_next(watch->kind, watch->oid, &watch->seen, &t))
	{
		if (run_fault(run, FAULT_MISS_HEALTH) && t.health == HEALTH_WARNING)
			continue;
		if (watch->noticed_us[HEALTH_EXHAUSTED] == 0)
			health_path_add(&watch->path, t.health);
		watch->health = t.health;
		watch->noticed_us[t.health] = t.at_us;
	}
	return watch->health >= at_least && watch->health <= at_most;
}

/* Returns why the monitor will never watch the run's pool; NULL: it may. */
static const char *
never_watched(const Run *run)
{
	const TargetType *target = run->target;

	if (!target->monitored)
		return "the monitor watches this server, and no other";
	if (!monitor_on)
		return "the monitor is off: pool_exhaust.monitor";
	if (sample_interval > INTERVAL_MAX_MS)
		return "the monitor samples too seldom: pool_exhaust.sample_interval";
	if (target->monitored_as == POOL_ROLE && run_fault(run, FAULT_NO_LIMIT))
		return "the monitor watches roles that have a limit";
	return NULL;
}

/* Begins to read what the monitor notices of the run's pool, from a health that is true. */
void
watch_begin(Run *run)
{
	Watch	   *watch = &run->watch;
	bool		watched = false;

	watch->absent = never_watched(run);
	if (watch->absent != NULL)
		return;
	watch->kind = run->target->monitored_as;
	watch->oid = watch->kind == POOL_ROLE ? run->parties[0].role : InvalidOid;
	wait_until(run, (watched = pool_watched(watch->kind, watch->oid, &watch->health, &watch->seen)),
			   run_patience(run, NOTICE_TIMEOUT_MS));
	if (!watched)
	{
		watch->absent = "the monitor does not watch this pool: see pool_exhaust.monitor";
		return;
	}

	/* Its health may still be that of an earlier run. */
	wait_until(run, watch_read(run, HEALTH_HEALTHY, run->parties[0].judge.health), run_patience(run, NOTICE_TIMEOUT_MS));
	memset(watch->noticed_us, 0, sizeof(watch->noticed_us));
	resetStringInfo(&watch->path);
	health_path_add(&watch->path, watch->health);
}

/* The pool has that health now, by the run's own samples. */
void
watch_reached(Run *run, Health health)
{
	if (run->watch.reached_us[health] == 0)
		run->watch.reached_us[health] = loop_now_us();
}

static bool
watch_read_or_rests(Run *run, Health at_least, Health at_most, uint64 *rested_us)
{
	if (*rested_us == 0 && run->pool->stats.opening == 0)
		*rested_us = loop_now_us();
	return watch_read(run, at_least, at_most);
}

/*
 * Waits until the monitor has noticed a health in this range, or for so long that it
 * never will; the path shows which.  Returns for how many microseconds the pool
 * had nothing else to do.
 */
uint64
watch_wait(Run *run, Health at_least, Health at_most)
{
	uint64		rested_us = 0;

	if (run->watch.absent != NULL)
		return 0;
	wait_until(run, watch_read_or_rests(run, at_least, at_most, &rested_us), run_patience(run, NOTICE_TIMEOUT_MS));
	return rested_us != 0 ? loop_now_us() - rested_us : 0;
}

/* Returns "warning 112 ms, exhausted 3 ms", how long the monitor took, palloc'd. */
char *
watch_note(const Run *run)
{
	const Watch *watch = &run->watch;
	StringInfoData note;

	initStringInfo(&note);
	for (int i = 1; i <= HEALTHS; i++)
	{
		Health		health = i % HEALTHS;	/* the best one comes last */
		uint64		reached = watch->reached_us[health];
		uint64		noticed = watch->noticed_us[health];

		if (reached != 0 && noticed != 0)
			appendStringInfo(&note, "%s%s %.0f ms", note.len > 0 ? ", " : "", health_names[health],
							 noticed > reached ? (noticed - reached) / 1000.0 : 0.0);
	}
	return note.data;
}

/*
 * lateness.c
 *		How late the run's loop woke up, and how many processes wanted the
 *		processors: what its claims on time are worth.
 *
 * An alarm of the loop rings every TICK_US.  That it rings in time says little of
 * the server: Linux runs a process that has slept before others, but one that has
 * work to do, as each new backend has, takes turns with all that are ready to run.
 * So that number is read, too, from /proc/loadavg; elsewhere it is 0.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/text.h"
#include "story/story.h"

#define TICK_US			(10 * 1000)

/* A claim on time that fails proves nothing if the loop was later than that ... */
#define BUSY_P50_MS		5.0
#define BUSY_MAX_MS		1000.0

/* ... or so many processes took turns on each processor for nine tenths of the time. */
#define BUSY_READY		12.0
#define BUSY_QUANTILE	0.10

/* From here on the report has a line on it. */
#define WORTH_SAYING_MS	50.0

/* Returns how many processes run or are ready to: "0.20 0.18 0.12 1/80 11206" has it before the slash. */
static int
ready_now(void)
{
	FILE	   *file = fopen("/proc/loadavg", "r");
	int			ready = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%*s %*s %*s %d", &ready) != 1)
		ready = 0;
	fclose(file);
	return ready;
}

static void
lateness_tick(Alarm *alarm)
{
	Run		   *run = alarm->owner;
	uint64		now_us = loop_now_us();

	histogram_add(&run->late, now_us - alarm->at_us);
	histogram_add(&run->ready, ready_now());
	alarm_set(&run->clock, alarm, now_us + TICK_US);
}

/* Begins to measure it; the clock must be open, and ends it when it is closed. */
void
run_begin_lateness(Run *run)
{
	run->tick.ring = lateness_tick;
	run->tick.owner = run;
	alarm_set(&run->clock, &run->tick, loop_now_us() + TICK_US);
}

/* The story is over: what follows is not measured. */
void
run_end_lateness(Run *run)
{
	alarm_unset(&run->clock, &run->tick);
}

/* Returns how many processes took turns on each processor, at the least for nine tenths of the time. */
static double
ready_each(const Run *run)
{
	return histogram_ms(&run->ready, BUSY_QUANTILE) * 1000 / uv_available_parallelism();
}

/* Returns whether the machine was too busy for claims on time. */
bool
run_is_late(const Run *run)
{
	return histogram_ms(&run->late, 0.50) > BUSY_P50_MS || histogram_max_ms(&run->late) > BUSY_MAX_MS ||
		ready_each(run) >= BUSY_READY;
}

/*
 * Returns "the loop woke up 0.1 ms late (p50), 12 ms at the most, and 16.5 processes
 * took turns on each processor", palloc'd; the latter only if they were many.
 */
char *
lateness_text(const Run *run)
{
	char	   *late = psprintf("the loop woke up %.1f ms late (p50), %.0f ms at the most",
								histogram_ms(&run->late, 0.50), histogram_max_ms(&run->late));

	if (ready_each(run) < BUSY_READY)
		return late;
	return psprintf("%s, and %s processes took turns on each processor", late, number_text(ready_each(run)));
}

/* Adds it, if it was measured, to the summary of the run as a phase of its own, and to the report if it is worth a line there. */
void
run_report_lateness(Run *run)
{
	Phase	   *p;

	if (run->late.count == 0 || run->nphases >= PHASES_MAX)
		return;
	p = &run->phases[run->nphases++];
	p->name = "machine";
	phase_figure(run, "late_p50_ms", histogram_ms(&run->late, 0.50));
	phase_figure(run, "late_max_ms", histogram_max_ms(&run->late));
	phase_figure(run, "ready_per_processor", ready_each(run));
	if (run_is_late(run) || histogram_max_ms(&run->late) > WORTH_SAYING_MS)
		p->note = MemoryContextStrdup(run->context, lateness_text(run));
}

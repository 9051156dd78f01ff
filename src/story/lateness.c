/*
 * lateness.c
 *		How late the run's loop woke up: what its claims on time are worth.
 *
 * An alarm of the loop rings every TICK_US.  Where more processes want to run than
 * there are processors it rings late, and so does everything else that the run
 * measures; the server's processes are late by more than that, since they have more to do.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "story/story.h"

#define TICK_US		(10 * 1000)

/* A run that was later than either of these proves nothing by a claim on time that fails. */
#define BUSY_P50_MS		5.0
#define BUSY_MAX_MS		200.0

/* From here on the report has a line on it. */
#define WORTH_SAYING_MS	50.0

static void
lateness_tick(Alarm *alarm)
{
	Run		   *run = alarm->owner;
	uint64		now_us = loop_now_us();

	histogram_add(&run->late, now_us - alarm->at_us);
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

/* Returns whether the machine was too busy for claims on time. */
bool
run_is_late(const Run *run)
{
	return histogram_ms(&run->late, 0.50) > BUSY_P50_MS || histogram_max_ms(&run->late) > BUSY_MAX_MS;
}

/* Returns "the loop woke up 0.1 ms late (p50), 12 ms at the most", palloc'd. */
char *
lateness_text(const Run *run)
{
	return psprintf("the loop woke up %.1f ms late (p50), %.0f ms at the most",
					histogram_ms(&run->late, 0.50), histogram_max_ms(&run->late));
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
	if (histogram_max_ms(&run->late) > WORTH_SAYING_MS)
		p->note = MemoryContextStrdup(run->context, lateness_text(run));
}

/*
 * lateness.c
 *		How late the run's loop woke up, and how many processes wanted the
 *		processors: what its claims on time are worth.
 *
 * An alarm of the loop rings every TICK_US.  That it rings in time says little of
 * the server: Linux runs a process that has slept before others, but one that has
 * work to do, as each new backend has, takes turns with all that are ready to run.
 * So that number is read, too, from /proc/loadavg; elsewhere it is 0.
 *
 * A machine that is less busy makes a server slower by as much as other processes
 * take of its processors: see claim_is_proved().  That is measured over the story,
 * and only where the run aims at this server: what a foreign server takes is the
 * run's own load, too.
 *
 * What a run asks of the monitor comes as late as the monitor's samples do, and what
 * it asks of a pooler may come as late as that answers on its console.
 *
 * Durations are those of the monotonic clock, but the end of a password and
 * pg_sleep() are a matter of the server's clock, which may be set meanwhile.
 *
 * What no option limits gets more time on a machine that is slow: see run_patience().
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/text.h"
#include "load/pool/pool_drivers.h"
#include "shmem/monitor_status.h"
#include "story/story.h"
#include "story/target_type.h"

#define TICK_US			(10 * 1000)

/* A claim on time that fails proves nothing if the loop was later than that ... */
#define BUSY_P50_MS		5.0
#define BUSY_MAX_MS		250.0

/* ... or so many processes took turns on each processor for nine tenths of the time. */
#define BUSY_READY		12.0
#define BUSY_QUANTILE	0.10

/* From that share of the processors on that others take, a claim on how long something takes is measured by what they leave. */
#define OTHERS_MIN		0.25

/* A clock that went by so much more or less than time has been set. */
#define CLOCK_SET_US	(1000 * 1000)

/* From here on the report has a line on it. */
#define WORTH_SAYING_MS	50.0

/* A deadline is stretched by so much at the most; a login that takes as long as that stretches it so far. */
#define PATIENCE_MAX	4.0
#define SLOW_LOGIN_MS	200.0

/* Slowness is averaged over about so many ticks. */
#define SLOWNESS_TICKS	100

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

/* Adds what was found now to the average; a single moment counts as 1.0 at the most. */
static void
slowness_add(Run *run, double now)
{
	run->slowness += (Min(now, 1) - run->slowness) / SLOWNESS_TICKS;
}

/* Reads how late drivers were so far, and the target, if that is a pooler. */
static void
read_others_late(Run *run)
{
	if (run->drivers != NULL && run->pool != NULL)
		run->drivers_late_us = pool_drivers_absent_us(run->pool);
	if (!run->target->counts_itself)
		return;
	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].probe != NULL)
			run->pooler_late_us = Max(run->pooler_late_us, probe_slowest_us(run->parties[i].probe));
}

static void
lateness_tick(Alarm *alarm)
{
	Run		   *run = alarm->owner;
	uint64		now_us = loop_now_us();
	uint64		late_us = now_us - alarm->at_us;
	int			ready = ready_now();

	histogram_add(&run->late, late_us);
	histogram_add(&run->ready, ready);
	if (target_needs_monitor(run->target, run->scenario))
		run->monitor_late_us = Max(run->monitor_late_us, monitor_late_us());
	read_others_late(run);
	slowness_add(run, Max(late_us / 1000.0 / BUSY_P50_MS, ready / BUSY_READY / uv_available_parallelism()));
	alarm_set(&run->clock, alarm, now_us + TICK_US);
}

/* For what goes wrong before it is measured: how many processes want the processors at this moment. */
void
run_glance_at_machine(Run *run)
{
	histogram_add(&run->ready, ready_now());
}

/* Begins to measure it; the clock must be open, and ends it when it is closed. */
void
run_begin_lateness(Run *run)
{
	run->tick.ring = lateness_tick;
	run->tick.owner = run;
	run->processors_known = run->target->own_roles && processors_read(&run->processors);
	alarm_set(&run->clock, &run->tick, loop_now_us() + TICK_US);
}

/* Returns how long the first login of the run took. */
static double
login_ms_taken(const Run *run)
{
	return run->login_us / 1000.0;
}

/*
 * Returns "ms", the time for something that no option of the run limits, stretched as
 * this machine is slow: not up to a quarter of what is too busy, four times from there
 * on.  A slow first login counts as much.
 */
int
run_patience(const Run *run, int ms)
{
	double		slowest = Max(run->slowness, login_ms_taken(run) / SLOW_LOGIN_MS);

	return (int) (ms * Min(Max(slowest * PATIENCE_MAX, 1), PATIENCE_MAX));
}

/* The story is over: what follows is not measured. */
void
run_end_lateness(Run *run)
{
	ProcessorTimes now;

	alarm_unset(&run->clock, &run->tick);
	read_others_late(run);
	if (run->processors_known && processors_read(&now))
		run->others = processors_of_others(&run->processors, &now);
}

/* Returns "the server's clock was set by +3600 s during the run", palloc'd; NULL if it was not. */
char *
clock_set_text(const Run *run)
{
	int64		set_us = GetCurrentTimestamp() - run_now(run);

	if (set_us > -CLOCK_SET_US && set_us < CLOCK_SET_US)
		return NULL;
	return psprintf("the server's clock was set by %+.0f s during the run", set_us / 1e6);
}

/* Returns how many processes took turns on each processor, at the least for nine tenths of the time. */
static double
ready_each(const Run *run)
{
	return histogram_ms(&run->ready, BUSY_QUANTILE) * 1000 / uv_available_parallelism();
}

/* Returns whether a sample of the monitor that the run waited for was too late for that. */
static bool
monitor_was_late(const Run *run)
{
	return run->monitor_late_us / 1000.0 > BUSY_MAX_MS;
}

/* Returns whether a driver was too busy for that, or too far away. */
static bool
drivers_were_late(const Run *run)
{
	return run->drivers_late_us / 1000.0 > BUSY_MAX_MS;
}

/* Returns whether the machine was too busy for claims on time. */
bool
run_is_late(const Run *run)
{
	return histogram_ms(&run->late, 0.50) > BUSY_P50_MS || histogram_max_ms(&run->late) > BUSY_MAX_MS ||
		monitor_was_late(run) || drivers_were_late(run) || ready_each(run) >= BUSY_READY;
}

/* Was the pooler, or the run itself, late enough to break the claim? */
static bool
delay_breaks(const Run *run, const Check *check)
{
	double		late_ms = Max(Max(run->pooler_late_us, run->drivers_late_us) / 1000.0, histogram_max_ms(&run->late));

	return check->of_delay_us > 0 && late_ms * 1000 >= check->of_delay_us;
}

/*
 * Returns whether a claim that has failed proves something.  One on time does not if the
 * machine was too busy, or a pooler or the run late enough to break it.  If others took a large part
 * of the processors, a limit of a time is to be broken by more than the server was slower
 * by that, with 1 - others of them; of other claims on speed it cannot be known.
 */
bool
claim_is_proved(const Run *run, const Check *check)
{
	const Comparison *c = &check->comparison;

	if (!check->of_time)
		return true;
	if (run_is_late(run) || delay_breaks(run, check))
		return false;
	if (run->others < OTHERS_MIN)
		return true;
	if (c->operator == OPERATOR_AT_MOST && strcmp(check->unit, "ms") == 0)
		return c->observed * (1 - run->others) > c->expected;
	return !check->of_speed;
}

/*
 * Returns "the loop woke up 0.1 ms late (p50), 12 ms at the most, a sample of the monitor
 * was 1200 ms late, the console of the pooler took 180 ms to answer, a driver was 90 ms
 * late, 16.5 processes took turns on each processor, other processes took 83 % of the
 * processors, and the first login took 310 ms", palloc'd; the first, the third and the
 * fourth only if that was measured, the others only if it was so late, they were many, it
 * was much, and if it was slow.
 */
char *
lateness_text(const Run *run)
{
	StringInfoData text;
	const char *figures[7];
	int			n = 0;

	if (run->late.count > 0)
		figures[n++] = psprintf("the loop woke up %.1f ms late (p50), %.0f ms at the most",
								histogram_ms(&run->late, 0.50), histogram_max_ms(&run->late));
	if (monitor_was_late(run))
		figures[n++] = psprintf("a sample of the monitor was %.0f ms late", run->monitor_late_us / 1000.0);
	if (run->pooler_late_us > 0)
		figures[n++] = psprintf("the console of the pooler took %.0f ms to answer", run->pooler_late_us / 1000.0);
	if (run->drivers_late_us > 0)
		figures[n++] = psprintf("a driver was %.0f ms late", run->drivers_late_us / 1000.0);
	if (ready_each(run) >= BUSY_READY)
		figures[n++] = psprintf("%s processes took turns on each processor", number_text(ready_each(run)));
	if (run->others >= OTHERS_MIN)
		figures[n++] = psprintf("other processes took %.0f %% of the processors", 100 * run->others);
	if (login_ms_taken(run) >= SLOW_LOGIN_MS)
		figures[n++] = psprintf("the first login took %.0f ms", login_ms_taken(run));
	initStringInfo(&text);
	for (int i = 0; i < n; i++)
		appendStringInfo(&text, "%s%s", i == 0 ? "" : i < n - 1 ? ", " : ", and ", figures[i]);
	return text.data;
}

/*
 * Adds to the run's reason, of "len" bytes if it had room for all, what may have brought
 * it about: a clock that was set, a foreign server that ended sessions, a machine that
 * was too busy.  Returns what len is then.
 */
int
run_add_excuse(Run *run, int len)
{
	const char *excuses[] = {clock_set_text(run), session_limit_text(run), run_is_late(run) ? lateness_text(run) : NULL};

	run->too_busy |= run_is_late(run);
	for (int i = 0; i < lengthof(excuses); i++)
		if (excuses[i] != NULL && len < sizeof(run->reason))
			len += snprintf(run->reason + len, sizeof(run->reason) - len, "; %s", excuses[i]);
	return len;
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
	if (target_needs_monitor(run->target, run->scenario))
		phase_figure(run, "monitor_late_ms", run->monitor_late_us / 1000.0);
	if (run->drivers != NULL)
		phase_figure(run, "drivers_late_ms", run->drivers_late_us / 1000.0);
	if (run->target->counts_itself)
		phase_figure(run, "pooler_late_ms", run->pooler_late_us / 1000.0);
	phase_figure(run, "ready_per_processor", ready_each(run));
	phase_figure(run, "others_percent", 100 * run->others);
	phase_figure(run, "login_ms", login_ms_taken(run));
	if (run_is_late(run) || run->others >= OTHERS_MIN || login_ms_taken(run) >= SLOW_LOGIN_MS ||
		Max(histogram_max_ms(&run->late), Max(run->pooler_late_us, run->drivers_late_us) / 1000.0) > WORTH_SAYING_MS)
		p->note = MemoryContextStrdup(run->context, lateness_text(run));
}

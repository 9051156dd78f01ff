/*
 * recorder.c
 *		The flight recorder: what the monitor observes, second after second, in a file.
 *
 * It outlives the server, and the monitor writes it without a slot.  Where it cannot be
 * written, one line of the server log says so; the seconds are lost, what was counted
 * in them goes into the next one that is written.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "event/loop.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/recorded_borrowers.h"
#include "observe/monitor/recorded_services.h"
#include "observe/monitor/recorder.h"
#include "observe/monitor/recorder_file.h"
#include "observe/slots/ledger.h"
#include "shmem/monitor_status.h"

/* A second that ends later than that after the one before it does not stand for the time in between. */
#define LATE_MS			1500

/* The clock was set if it has moved by so much more, or less, than time has passed. */
#define CLOCK_SET_MS	2000

/* How long it takes to try again where the file cannot be opened. */
#define RETRY_US		(10 * INT64CONST(1000000))

static int	recorder_size;		/* MB; 0: off */
static int	recorder_interval;	/* ms */

static RecorderFile file = {.fd = -1};
static RecordedSecond second;	/* the one under way */
static bool observed;			/* it has an observation */
static bool names_kept;			/* what the setting was when services were named */

/* The last second that was written, or the begin. */
static uint64 recorded_us;		/* monotonic */
static TimestampTz recorded_to;
static int64 gap_ms;			/* before the next second, in which nothing was measured */
static uint64 tried_us;			/* the last second that was to be written */
static int	sessions_then;		/* -1: not known yet */
static int64 closed_then;		/* below 0: sessions that were seen before they were counted as opened */
static int	sessions_now;		/* these two as of the end of the second that is to be written */
static int64 closed_now;
static bool recorded_here;		/* this process has recorded before */

static uint64 retry_us;			/* not before that */
static bool complained;
static int	not_written;		/* seconds, since it could be written last */
static int	not_written_errno;
static int64 run_before;		/* the run on this server that the observation before saw */
static uint64 heals_seen;
static TimestampTz counted_since;

void
recorder_init(void)
{
	DefineCustomIntVariable("pool_exhaust.recorder_size",
							"Size of the file in which the monitor records what it observes.",
							"0 turns that off.",
							&recorder_size, 128, 0, 16 * 1024,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("pool_exhaust.recorder_interval",
							"Time between two records in it.",
							NULL,
							&recorder_interval, 1000, 100, 60 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("pool_exhaust.recorder_names",
							 "Records services, and roles and databases with a CONNECTION LIMIT, by name.",
							 "Without it services have numbers, which differ after a restart of the monitor.",
							 &recorder_names, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* ---------- Trouble ---------- */

static void
complain(const RecorderError *error)
{
	not_written_errno = error->code;
	if (complained)
		return;
	complained = true;
	errno = error->code;
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("pool_exhaust cannot record: %s \"%s\": %m", error->what, RECORDER_FILE),
			 errhint("It tries again; nothing else depends on it.")));
}

static void
complain_no_more(void)
{
	if (complained)
		ereport(LOG, (errmsg("pool_exhaust records again")));
	complained = false;
}

/* ---------- Events ---------- */

static void
note_event(RecordedEventType type, int place, int64 value, int64 other)
{
	if (second.nevents < RECORDED_EVENTS_MAX)
		second.events[second.nevents++] = (RecordedEvent) {type, place, value, other};
}

static void
note_heals(void)
{
	HealLogEntry heal;

	while (heal_log_read(&heals_seen, &heal))
		note_event(EVENT_HEALED, recorded_service_place(heal.service), heal.rule, heal.pid);
}

/* How far the clock has moved beside the time that has passed. */
static int64
set_by_ms(int64 elapsed_ms, TimestampTz now)
{
	return (now - recorded_to) / 1000 - elapsed_ms;
}

static void
note_clock(int64 elapsed_ms, TimestampTz now)
{
	int64		set_ms = set_by_ms(elapsed_ms, now);

	if (llabs(set_ms) > CLOCK_SET_MS)
		note_event(EVENT_CLOCK_SET, -1, set_ms, 0);
}

static void
note_reset(void)
{
	if (counted_since != 0 && counted_since != shared->observed.counted_since)
	{
		note_event(EVENT_RESET, -1, 0, 0);
		recorded_services_reset();
	}
	counted_since = shared->observed.counted_since;
}

/* Changes of limits, against the last second that was written. */
static void
note_limits(void)
{
	const RecordedSecond *before = &file.state.second;

	if (before->capacity != 0 && before->capacity != second.capacity)
		note_event(EVENT_CAPACITY, -1, second.capacity, before->capacity);
	for (int i = 0; i < second.npools; i++)
		for (int j = 0; j < before->npools; j++)
			if (before->pools[j].kind == second.pools[i].kind && before->pools[j].oid == second.pools[i].oid &&
				before->pools[j].capacity != second.pools[i].capacity)
				note_event(EVENT_LIMIT, i, second.pools[i].capacity, before->pools[j].capacity);
}

/* ---------- The second under way ---------- */

/* Is it a run on target server that is under way, or was since then? */
static bool
run_is_on_server(const RunEntry *run, TimestampTz since)
{
	return run->run_id != 0 && !request_is_hold(&run->request) && run->request.target == TARGET_SERVER &&
		(run->state == RUN_RUNNING || (run->state == RUN_ENDED && run->started_at >= since));
}

static int64
run_on_server(TimestampTz since)
{
	int64		run_id = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX && run_id == 0; i++)
		if (run_is_on_server(&shared->runs[i], since))
			run_id = shared->runs[i].run_id;
	LWLockRelease(shared->lock);
	return run_id;
}

/* A run that ended between two observations was under way in between. */
static void
note_run(void)
{
	int64		run_id = run_on_server(recorded_to);

	if (second.run_id == 0)
		second.run_id = run_id != 0 ? run_id : run_before;
	run_before = run_id;
}

static void
note_pools(const MonitorSnapshot *snapshot)
{
	const Observed *seen = &shared->observed;

	second.npools = 0;
	/* The first is the server itself. */
	for (int i = 1; i < seen->npools && second.npools < RECORDED_POOLS_MAX; i++)
	{
		const MonitoredPool *pool = &seen->pools[i];
		RecordedPool *recorded = &second.pools[second.npools++];

		memset(recorded, 0, sizeof(*recorded));
		recorded->kind = pool->limit.kind;
		recorded->oid = pool->limit.oid;
		if (recorder_names)
			recorded_name(recorded->name, pool->limit.name);
		recorded->capacity = Max(pool->limit.capacity, 0);
		recorded->in_use = pool->in_use;
		recorded->health = pool->judge.health;
	}
}

/* Takes an observation into account: the fullest moment stands for the second. */
static void
note(const MonitorSnapshot *snapshot)
{
	const MonitoredPool *server = &shared->observed.pools[0];

	second.health = Max(second.health, server->judge.health);
	note_run();
	if (observed && slot_states_sum(snapshot->by_state) < recorded_in_use(&second))
		return;
	observed = true;
	memcpy(second.by_state, snapshot->by_state, sizeof(second.by_state));
	second.capacity = server->limit.capacity;
	second.slots = MaxConnections;
	if (snapshot->readable)
		recorded_services_note(&second, snapshot->services);
	note_pools(snapshot);
}

/* ---------- The end of a second ---------- */

/* Sessions that have ended: those that were, and those that came, less those that are. */
static uint32
count_closed(const int *by_state, uint64 opened)
{
	sessions_now = slot_states_sum(by_state) - by_state[SLOT_AUTHENTICATING];
	closed_now = closed_then + sessions_then + (int64) opened - sessions_now;
	return (uint32) Max(closed_now, 0);
}

static void
count(const int *by_state)
{
	Observed   *seen = &shared->observed;
	bool		refused = false;

	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		second.refused[i] = (uint32) (ledger_cause_refusals_ever(i) - seen->recorded_refused[i]);
		refused |= second.refused[i] > 0;
	}
	second.opened = (uint32) (ledger_logins_ever() - seen->recorded_opened);
	second.closed = count_closed(by_state, second.opened);
	recorded_services_count(&second, refused);
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
		second.suspects[rule] = (int) leak_suspects(&seen->leaks[rule]);
	recorded_borrowers_note(&second);
}

/* Sets the time that it stands for; returns the time before it that was not measured. */
static int64
set_span(int64 elapsed_ms, TimestampTz now)
{
	int64		expected_ms = Max(recorder_interval, sample_interval);
	bool		late = elapsed_ms > expected_ms + LATE_MS;
	bool		clock_set = llabs(set_by_ms(elapsed_ms, now)) > CLOCK_SET_MS;

	second.to = now;
	if (late || clock_set)
		second.from = now - Min(elapsed_ms, expected_ms) * 1000;
	else
		second.from = Min(recorded_to, now);
	return gap_ms + (late ? elapsed_ms - expected_ms : 0);
}

/* From now on the next second is under way. */
static void
next_second(void)
{
	second.health = HEALTH_HEALTHY;
	second.run_id = 0;
	second.nevents = 0;
	recorded_services_next(&second);
	observed = false;
}

/* What was written need not be counted again. */
static void
second_written(uint64 now_us)
{
	Observed   *seen = &shared->observed;

	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	for (int i = 0; i < LEDGER_CAUSES; i++)
		seen->recorded_refused[i] += second.refused[i];
	seen->recorded_opened += second.opened;
	seen->recorded_at = second.to;
	LWLockRelease(shared->observe_lock);
	recorded_us = now_us;
	recorded_to = second.to;
	recorded_here = true;
	sessions_then = sessions_now;
	closed_then = Min(closed_now, 0);
	gap_ms = 0;
	not_written = 0;
	complain_no_more();
	next_second();
}

/* What was counted stays for the next second, and so does what has happened. */
static void
second_lost(const RecorderError *error, int nevents)
{
	complain(error);
	not_written++;
	second.nevents = nevents;
	observed = false;
}

static void
close_second(const int *by_state, uint64 now_us)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		elapsed_ms = (int64) (now_us - recorded_us) / 1000;
	RecorderError error;
	int64		gap;
	int			nevents;

	tried_us = now_us;
	note_reset();
	note_heals();
	count(by_state);
	nevents = second.nevents;
	/* These begin at the last second that was written, and find the same again if this one is not. */
	note_clock(elapsed_ms, now);
	note_limits();
	if (ledger_was_blind(REFUSED_BACKEND, recorded_to))
		note_event(EVENT_LEDGER_BLIND, -1, 0, 0);
	if (not_written > 0)
		note_event(EVENT_NOT_WRITTEN, -1, not_written_errno, not_written);
	gap = set_span(elapsed_ms, now);
	if (recorder_file_append(&file, &second, gap, &error))
		second_written(now_us);
	else
		second_lost(&error, nevents);
	recorder_file_shrink(&file);
}

/* ---------- On and off ---------- */

/* Why there is a time that was not recorded, before this moment. */
static RecordedEventType
why_begun(bool turned_on)
{
	if (turned_on || recorded_here)
		return EVENT_RECORDER_ON;
	return shared->observed.recorded_at == 0 ? EVENT_SERVER_STARTED : EVENT_MONITOR_STARTED;
}

/* The time since the last second of the file was not measured, whatever it was. */
static void
begin_after(TimestampTz now, RecordedEventType why)
{
	TimestampTz last = (TimestampTz) file.state.at_ms * 1000;

	gap_ms = last == 0 ? 0 : (now - last) / 1000;
	note_event(why, -1, 0, 0);
	if (gap_ms < 0)
		note_event(EVENT_CLOCK_SET, -1, gap_ms, 0);
	gap_ms = Max(gap_ms, 0);
	if (file.moved)
		note_event(EVENT_MOVED, -1, 0, 0);
}

/* What was counted while it was off is no part of what is recorded. */
static void
skip_counters(void)
{
	Observed   *seen = &shared->observed;

	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	for (int i = 0; i < LEDGER_CAUSES; i++)
		seen->recorded_refused[i] = ledger_cause_refusals_ever(i);
	seen->recorded_opened = ledger_logins_ever();
	LWLockRelease(shared->observe_lock);
}

/* Returns how many sessions there were when what is counted now began; -1: as many as are seen first. */
static int
sessions_at_begin(RecordedEventType why)
{
	const int  *by_state = file.state.second.by_state;

	if (why == EVENT_SERVER_STARTED)
		return 0;
	return why == EVENT_MONITOR_STARTED ? slot_states_sum(by_state) - by_state[SLOT_AUTHENTICATING] : -1;
}

/* The file is open: begins the first second. */
static void
begin(RecordedEventType why)
{
	memset(&second, 0, sizeof(second));
	next_second();
	recorded_us = tried_us = loop_now_us();
	recorded_to = GetCurrentTimestamp();
	names_kept = recorder_names;
	heals_seen = heal_log_now();
	sessions_then = sessions_at_begin(why);
	closed_then = 0;
	begin_after(recorded_to, why);
	recorded_services_begin(&second, why == EVENT_SERVER_STARTED);
	/* Names of services are to be written again, whatever the last frame was. */
	file.state.keyed = false;
}

/* Opens the file; "turned_on": by a setting, and not because the monitor has started or the file was lost. */
static void
recorder_open(bool turned_on)
{
	uint64		now_us = loop_now_us();
	RecorderError error;

	if (now_us < retry_us)
		return;
	retry_us = now_us + RETRY_US;
	if (!recorder_file_open(&file, recorder_size, &error))
	{
		complain(&error);
		recorder_file_close(&file);
		return;
	}
	if (turned_on)
		skip_counters();
	begin(why_begun(turned_on));
}

static void
recorder_close(void)
{
	recorder_file_close(&file);
}

/* The file was removed, or cut, under this process: what was counted goes into the next second. */
static void
recorder_reopen(void)
{
	recorder_close();
	retry_us = 0;
	recorder_open(false);
}

/* Follows the settings. */
void
recorder_configure(void)
{
	static bool was_on = true;	/* a monitor that starts goes on with what was before */
	bool		on = monitor_on && recorder_size > 0;

	if (file.fd >= 0 && (!on || names_kept != recorder_names || file.nplaces != recorder_places(recorder_size)))
		recorder_close();
	retry_us = 0;
	if (on && file.fd < 0)
		recorder_open(!was_on);
	was_on = on;
}

/* ---------- The monitor's part ---------- */

/*
 * Takes an observation into account, and ends the second if it is time.  Needs no
 * lock: what it reads the monitor alone writes.
 */
void
recorder_observe(const MonitorSnapshot *snapshot, bool regular)
{
	uint64		now_us = loop_now_us();

	if (recorder_size == 0 || !monitor_on)
		return;
	if (file.fd < 0)
		recorder_open(false);
	if (file.fd < 0)
		return;
	/* Sessions that are here at the begin are no ones that came. */
	if (sessions_then < 0)
		sessions_then = slot_states_sum(snapshot->by_state) - snapshot->by_state[SLOT_AUTHENTICATING];
	note(snapshot);
	/* Half a sample more or less: what is nearest to the interval. */
	if (!regular || now_us + sample_interval * INT64CONST(500) < tried_us + recorder_interval * INT64CONST(1000))
		return;
	if (recorder_file_is_there(&file))
		close_second(snapshot->by_state, now_us);
	else
		recorder_reopen();
}

/* The monitor ends: writes the second under way. */
void
recorder_end(void)
{
	if (file.fd >= 0 && observed)
		close_second(snapshot_last()->by_state, loop_now_us());
	recorder_close();
}

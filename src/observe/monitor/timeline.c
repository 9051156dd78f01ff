/*
 * timeline.c
 *		The timeline: a ring of samples in shared memory.
 *
 * A row stands for one sample interval.  What the monitor observes out of turn, when
 * a login was refused, goes into the row of the interval: its peak is kept.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "observe/monitor/timeline.h"
#include "observe/slots/ledger.h"
#include "shmem/ring.h"
#include "shmem/shared.h"

/* The row that is not complete yet, in the process of the monitor. */
static TimelineRow row;

void
timeline_init(void)
{
	DefineCustomIntVariable("pool_exhaust.timeline_length",
							"Samples that pool_exhaust_timeline keeps.",
							NULL,
							&timeline_length, 18000, 10, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

/* Takes an observation into account: the fullest moment stands for the interval. */
void
timeline_note(const int *by_state)
{
	const MonitoredPool *server = &shared->observed.pools[0];

	row.health = Max(row.health, server->judge.health);
	if (row.at != 0 && server->in_use < row.in_use)
		return;
	row.at = shared->observed.sampled_at;
	row.in_use = server->in_use;
	row.capacity = server->limit.capacity;
	row.active = by_state[SLOT_ACTIVE];
	row.idle = by_state[SLOT_IDLE];
	row.idle_in_transaction = by_state[SLOT_IDLE_IN_TRANSACTION];
}

/* Ends the interval: its row joins the timeline. */
void
timeline_close_row(void)
{
	Observed   *observed = &shared->observed;
	uint64		refused = ledger_slot_refusals_ever();
	uint64		opened = ledger_logins_ever();

	row.at = observed->sampled_at;
	row.refused = refused - observed->timeline_refused;
	row.opened = opened - observed->timeline_opened;
	observed->timeline_refused = refused;
	observed->timeline_opened = opened;
	shared->timeline[observed->timeline_written++ % timeline_length] = row;
	memset(&row, 0, sizeof(row));
}

/* The number of the oldest row.  Needs the lock. */
static uint64
timeline_first(void)
{
	return ring_first(shared->observed.timeline_written, timeline_length, shared->observed.timeline_first);
}

int
timeline_copy(TimelineRow *rows)
{
	int			n = 0;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	for (uint64 i = timeline_first(); i < shared->observed.timeline_written; i++)
		rows[n++] = shared->timeline[i % timeline_length];
	LWLockRelease(shared->observe_lock);
	return n;
}

TimestampTz
timeline_begins(TimestampTz otherwise)
{
	TimestampTz at;
	uint64		first;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	first = timeline_first();
	at = first < shared->observed.timeline_written ? shared->timeline[first % timeline_length].at : otherwise;
	LWLockRelease(shared->observe_lock);
	return at;
}

void
timeline_slice_add(TimelineSlice *slice, const TimelineRow *sample)
{
	if (slice->n == 0 || sample->in_use >= slice->most.in_use)
		slice->most = *sample;
	if (slice->n == 0 || sample->in_use < slice->least.in_use)
		slice->least = *sample;
	slice->health = Max(slice->health, sample->health);
	slice->refused += sample->refused;
	slice->opened += sample->opened;
	slice->n++;
}

void
timeline_slices(TimestampTz from, TimestampTz to, TimelineSlice *slices, int n)
{
	memset(slices, 0, sizeof(TimelineSlice) * n);
	LWLockAcquire(shared->observe_lock, LW_SHARED);
	for (uint64 i = timeline_first(); i < shared->observed.timeline_written; i++)
	{
		const TimelineRow *sample = &shared->timeline[i % timeline_length];

		if (sample->at >= from && sample->at <= to)
			timeline_slice_add(&slices[Min((sample->at - from) * n / Max(to - from, 1), n - 1)], sample);
	}
	LWLockRelease(shared->observe_lock);
}

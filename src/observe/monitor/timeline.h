/*
 * timeline.h
 *		The timeline: a ring of samples in shared memory.
 */
#pragma once

#include "shmem/shared.h"

extern void timeline_init(void);

/* The monitor's part; both need the lock. */
extern void timeline_note(const int *by_state);
extern void timeline_close_row(void);

/*
 * Copies the timeline, oldest row first, to "rows", which has timeline_length;
 * returns how many rows there are.  Takes the lock.
 */
extern int	timeline_copy(TimelineRow *rows);

/* What the rows of a part of the time have in common. */
typedef struct TimelineSlice
{
	int			n;				/* rows; the others are not set if there are none */
	TimelineRow most;			/* the last of those with the most in use */
	TimelineRow least;			/* the first of those with the least */
	Health		health;			/* the worst */
	uint64		refused;		/* these two: all together */
	uint64		opened;
} TimelineSlice;

extern void timeline_slice_add(TimelineSlice *slice, const TimelineRow *sample);

/* Returns when the timeline begins; "otherwise" if it is empty.  Takes the lock. */
extern TimestampTz timeline_begins(TimestampTz otherwise);

/* Sums up the rows between two moments in n slices of equal length.  Takes the lock, allocates nothing. */
extern void timeline_slices(TimestampTz from, TimestampTz to, TimelineSlice *slices, int n);

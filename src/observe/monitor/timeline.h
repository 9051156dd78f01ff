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

/*
 * drives.h
 *		Which sessions drive load for a run of another server, and whether they still
 *		move.
 */
#pragma once

#include "shmem/shared.h"

/*
 * This session drives, and says so again within that time; 0: it drives no more.  Wakes
 * the monitor for the first time.
 */
extern void drive_says(int ms);

/* Does the session in that slot drive, and has not said so in time?  Returns its pid, and 0 if not. */
extern int	drive_overdue(int number);

/*
 * drive_watch.h
 *		Drives that do not move any more.
 */
#pragma once

#include "event/loop.h"

/* To be called once, and at each turn of the loop of the monitor; neither throws. */
extern void drive_watch_init(Loop *loop);
extern void drive_watch_turn(void);

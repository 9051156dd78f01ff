/*
 * drive_watch.h
 *		Drives that do not move any more.
 */
#pragma once

#include "event/loop.h"

extern void drive_watch_init(Loop *loop);
extern void drive_watch_turn(void);

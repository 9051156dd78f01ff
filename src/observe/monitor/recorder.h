/*
 * recorder.h
 *		The flight recorder: what the monitor observes, second after second, in a file.
 */
#pragma once

#include "observe/monitor/snapshot.h"

extern void recorder_init(void);

/* The monitor's part. */
extern void recorder_configure(void);
extern void recorder_observe(const MonitorSnapshot *snapshot, bool regular);
extern void recorder_end(void);

/*
 * monitor.h
 *		The monitor: one worker that watches, remembers and answers.
 */
#pragma once

extern void monitor_init(void (*sweep) (bool again));

extern PGDLLEXPORT void monitor_main(Datum arg);

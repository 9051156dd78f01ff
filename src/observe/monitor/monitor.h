/*
 * monitor.h
 *		The monitor: one worker that watches, remembers and answers.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_MONITOR_H
#define POOL_EXHAUST_OBSERVE_MONITOR_MONITOR_H

extern void monitor_init(bool (*on_start) (void));

extern PGDLLEXPORT void monitor_main(Datum arg);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_MONITOR_H */

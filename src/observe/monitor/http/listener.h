/*
 * listener.h
 *		Answers over HTTP, without a slot.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_HTTP_LISTENER_H
#define POOL_EXHAUST_OBSERVE_MONITOR_HTTP_LISTENER_H

#include "event/loop.h"

extern void http_gucs_init(void);

/* The monitor's part. */
extern void http_init(Loop *loop, void (*refresh) (void));
extern void http_configure(bool on);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_HTTP_LISTENER_H */

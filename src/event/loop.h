/*
 * loop.h
 *		One event loop for sockets, timers and the latch of this process.
 */
#pragma once

#include <uv.h>

typedef struct WaitEventSet WaitEventSet;

typedef struct Loop
{
	uv_loop_t	uv;
	WaitEventSet *events;
	uint32		wait_event;
	uv_timer_t	pause;			/* ends a wait in libuv */
	bool		busy;			/* something happened in the last turn */
	bool		open;
} Loop;

extern void loop_open(Loop *loop, const char *wait_event);
extern void loop_turn(Loop *loop, int timeout_ms);
extern void loop_close(Loop *loop);

/* Monotonic time in microseconds. */
extern uint64 loop_now_us(void);

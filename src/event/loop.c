/*
 * loop.c
 *		A libuv loop nested in a WaitEventSet.
 *
 * libuv watches the sockets and keeps the timers; its backend descriptor is
 * one more socket in a WaitEventSet, beside the latch and the postmaster.  So
 * one wait ends for whatever comes first, at a cost that does not depend on
 * the number of sockets.
 *
 * Two nested waits are two system calls.  So a loop in which something has just
 * happened waits for more of it in libuv alone, for a moment; only then does it
 * lie down in the WaitEventSet.  That makes a busy loop a tenth faster, and the
 * latch at most that moment late.
 *
 * Callbacks run inside uv_run() and must not throw: an ERROR would jump over
 * libuv's frames.  Interrupts are checked between turns.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/compat.h"
#include "event/loop.h"

#define BUSY_TURN_MS	2

/*
 * Opens the loop, whose waits show under this name.  ERROR if the process can
 * get no descriptor for it.  The caller closes it with loop_close() when every
 * handle has been closed; that may follow the ERROR, too, of a loop that was all zero.
 */
void
loop_open(Loop *loop, const char *wait_event)
{
	int			rc;

	loop->wait_event = compat_wait_event(wait_event);
	loop->events = compat_wait_event_set(3);
	rc = uv_loop_init(&loop->uv);
	if (rc != 0)
	{
		FreeWaitEventSet(loop->events);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not open an event loop: %s", uv_strerror(rc))));
	}
	loop->open = true;			/* from here on loop_close() has to close it, also after an ERROR */
	AddWaitEventToSet(loop->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(loop->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(loop->events, WL_SOCKET_READABLE, uv_backend_fd(&loop->uv), NULL, NULL);
	uv_timer_init(&loop->uv, &loop->pause);
	loop->pause.data = loop;
	loop->busy = false;
}

/* Nothing happened for so long. */
static void
loop_pause_over(uv_timer_t *timer)
{
	((Loop *) timer->data)->busy = false;
}

/*
 * libuv rings the timers that are due before it waits, and then waits for what is set:
 * a timer that rings once would leave it nothing to wake up for, where this process had
 * no processor for so long in between.
 */
static void
loop_turn_busy(Loop *loop, int timeout_ms)
{
	int			pause_ms = Min(timeout_ms, BUSY_TURN_MS);

	uv_timer_start(&loop->pause, loop_pause_over, pause_ms, pause_ms);
	uv_run(&loop->uv, UV_RUN_ONCE);
	uv_timer_stop(&loop->pause);
}

static void
loop_turn_idle(Loop *loop, int timeout_ms)
{
	int			uv_timeout = uv_backend_timeout(&loop->uv);
	WaitEvent	event;

	/* -1 means that libuv waits for nothing but sockets. */
	if (uv_timeout >= 0 && uv_timeout < timeout_ms)
		timeout_ms = uv_timeout;
	if (WaitEventSetWait(loop->events, timeout_ms, &event, 1, loop->wait_event) > 0)
	{
		if (event.events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else
			loop->busy = true;
	}
	uv_run(&loop->uv, UV_RUN_NOWAIT);
}

/*
 * Waits until there is something to do, the latch is set or timeout_ms has
 * passed, and does it: whatever a callback changed shows when this returns.
 */
void
loop_turn(Loop *loop, int timeout_ms)
{
	CHECK_FOR_INTERRUPTS();
	uv_update_time(&loop->uv);
	if (loop->busy && timeout_ms > 0)
		loop_turn_busy(loop, timeout_ms);
	else
		loop_turn_idle(loop, timeout_ms);
}

static void
loop_close_handle(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Closes whatever handles are left, and the loop.  May be called twice. */
void
loop_close(Loop *loop)
{
	if (!loop->open)
		return;
	loop->open = false;
	uv_walk(&loop->uv, loop_close_handle, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	FreeWaitEventSet(loop->events);
	uv_loop_close(&loop->uv);
}

uint64
loop_now_us(void)
{
	return uv_hrtime() / 1000;
}

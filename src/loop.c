/*
 * loop.c
 *		A libuv loop nested in a WaitEventSet.
 *
 * libuv watches the sockets and keeps the timers; its backend descriptor is
 * one more socket in a WaitEventSet, beside the latch and the postmaster.  So
 * one wait ends for whatever comes first, at a cost that does not depend on
 * the number of sockets.
 *
 * Callbacks run inside uv_run() and must not throw: an ERROR would jump over
 * libuv's frames.  Interrupts are looked at between turns.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "loop.h"

/*
 * Opens the loop, whose waits show under this name.  ERROR if the process can
 * get no descriptor for it.  The caller closes it with loop_close() when every
 * handle has been closed.
 */
void
loop_open(Loop *loop, const char *wait_event)
{
	int			rc = uv_loop_init(&loop->uv);

	if (rc != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not open an event loop: %s", uv_strerror(rc))));

	loop->wait_event = compat_wait_event(wait_event);
	loop->events = compat_wait_event_set(3);
	AddWaitEventToSet(loop->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(loop->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(loop->events, WL_SOCKET_READABLE, uv_backend_fd(&loop->uv), NULL, NULL);
	loop->open = true;
}

/*
 * Waits until there is something to do, the latch is set or timeout_ms has
 * passed, and does it: whatever a callback changed shows when this returns.
 */
void
loop_turn(Loop *loop, int timeout_ms)
{
	WaitEvent	event;
	int			uv_timeout;

	CHECK_FOR_INTERRUPTS();

	/* -1 means that libuv waits for nothing but sockets. */
	uv_update_time(&loop->uv);
	uv_timeout = uv_backend_timeout(&loop->uv);
	if (uv_timeout >= 0 && uv_timeout < timeout_ms)
		timeout_ms = uv_timeout;

	if (WaitEventSetWait(loop->events, timeout_ms, &event, 1, loop->wait_event) > 0 &&
		(event.events & WL_LATCH_SET))
		ResetLatch(MyLatch);
	uv_run(&loop->uv, UV_RUN_NOWAIT);
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

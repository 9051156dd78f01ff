/*
 * alarm.c
 *		Alarms to the microsecond, any number of them, over one timerfd.
 *
 * libuv's timers count milliseconds.  Clients that are to come at random, a
 * thousand a second, would come in step with that clock.
 */
#include "postgres.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "event/alarm.h"

/* A pairing heap has its largest on top; the earliest is to be there. */
static int
alarm_compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	uint64		x = pairingheap_const_container(Alarm, node, a)->at_us;
	uint64		y = pairingheap_const_container(Alarm, node, b)->at_us;

	return x < y ? 1 : x > y ? -1 : 0;
}

static Alarm *
alarm_first(AlarmClock *clock)
{
	if (pairingheap_is_empty(&clock->alarms))
		return NULL;
	return pairingheap_container(Alarm, node, pairingheap_first(&clock->alarms));
}

/* Sets the timer to the earliest alarm, which also ends its being readable. */
static void
alarm_clock_arm(AlarmClock *clock)
{
	Alarm	   *first = alarm_first(clock);
	uint64		at_us = first != NULL ? Max(first->at_us, 1) : 0;
	struct itimerspec when = {{0}};

	if (at_us == clock->armed_us || clock->fd < 0)
		return;
	clock->armed_us = at_us;
	when.it_value.tv_sec = at_us / 1000000;
	when.it_value.tv_nsec = at_us % 1000000 * 1000;
	(void) timerfd_settime(clock->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Those that are due by now ring. */
static void
alarm_clock_ring(uv_poll_t *poll, int status, int events)
{
	AlarmClock *clock = poll->data;
	uint64		now_us = loop_now_us();

	/* Whatever they set, the timer is set once, behind them. */
	clock->armed_us = 1;
	for (Alarm *alarm = alarm_first(clock); alarm != NULL && alarm->at_us <= now_us;
		 alarm = alarm_first(clock))
	{
		alarm_unset(clock, alarm);
		alarm->ring(alarm);
	}
	alarm_clock_arm(clock);
}

/*
 * Opens a clock on the loop.  ERROR if the process can get no descriptor for
 * it; alarm_clock_close() gives it back.
 */
void
alarm_clock_open(AlarmClock *clock, Loop *loop)
{
	memset(clock, 0, sizeof(*clock));
	clock->alarms.ph_compare = alarm_compare;
	clock->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (clock->fd < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not open a timer: %m")));
	(void) uv_poll_init(&loop->uv, &clock->poll, clock->fd);	/* epoll takes any timerfd */
	clock->poll.data = clock;
	uv_poll_start(&clock->poll, UV_READABLE, alarm_clock_ring);
}

/* No alarm rings any more, also none that is set from now on.  May be called twice. */
void
alarm_clock_close(AlarmClock *clock)
{
	if (clock->poll.data == NULL)
		return;
	uv_poll_stop(&clock->poll);
	clock->poll.data = NULL;
	close(clock->fd);
	clock->fd = -1;
}

/* Sets the alarm to a moment of loop_now_us(), also one that has passed. */
void
alarm_set(AlarmClock *clock, Alarm *alarm, uint64 at_us)
{
	alarm_unset(clock, alarm);
	alarm->at_us = at_us;
	alarm->set = true;
	pairingheap_add(&clock->alarms, &alarm->node);
	if (clock->armed_us == 0 || at_us < clock->armed_us)
		alarm_clock_arm(clock);
}

/* The timer is left as it is: at worst it fires for nothing. */
void
alarm_unset(AlarmClock *clock, Alarm *alarm)
{
	if (!alarm->set)
		return;
	alarm->set = false;
	pairingheap_remove(&clock->alarms, &alarm->node);
}

/*
 * alarm.h
 *		Alarms to the microsecond, any number of them, over one timerfd.
 */
#pragma once

#include "lib/pairingheap.h"

#include "event/loop.h"

typedef struct AlarmClock
{
	pairingheap alarms;			/* the earliest first */
	uint64		armed_us;		/* what the timer is set to; 0 = nothing */
	int			fd;
	uv_poll_t	poll;
} AlarmClock;

/* All zero is an alarm that is not set; "ring" and "owner" are the user's. */
typedef struct Alarm Alarm;
struct Alarm
{
	void		(*ring) (Alarm *alarm); /* runs inside the loop: must not throw */
	void	   *owner;
	uint64		at_us;
	bool		set;
	pairingheap_node node;
};

extern void alarm_clock_open(AlarmClock *clock, Loop *loop);
extern void alarm_clock_close(AlarmClock *clock);
extern void alarm_set(AlarmClock *clock, Alarm *alarm, uint64 at_us);
extern void alarm_unset(AlarmClock *clock, Alarm *alarm);

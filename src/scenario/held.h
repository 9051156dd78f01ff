/*
 * held.h
 *		One session of a hold.
 */
#ifndef POOL_EXHAUST_SCENARIO_HELD_H
#define POOL_EXHAUST_SCENARIO_HELD_H

#include "scenario/hold.h"

#define USED_ONCE	"SELECT 1"

/* One session of the hold. */
typedef struct Held
{
	Request		request;		/* must be first */
	struct Hold *hold;
	bool		beside;			/* not one of those that were asked for */
	bool		began;			/* what it runs has said so */
	Alarm		alarm;			/* of a companion: when it is used again */
} Held;

typedef struct Hold
{
	Run		   *run;
	const HoldKind *kind;
	Held	   *held;			/* those that were asked for, then those beside them */
	int			n;				/* of the former */
	char	   *sql;			/* what each runs; NULL: nothing */
	bool		says_begin;		/* and that says when it begins */
	int			ready;			/* of all, as far as they can tell themselves */
	int			alive;			/* of those that were asked for */
	bool		complete;
	bool		refused;
	bool		unasked;		/* a login was to stall, and was let in */
	bool		unlocked;		/* who held the lock is gone */
	int			error_code;		/* what went wrong first, 0 = nothing */
	char		error[MESSAGE_LEN];
} Hold;

extern void held_init(Held *held, Hold *hold);
extern void hold_count(Hold *hold, int alive);
extern void companion_rest(Held *held);

#endif							/* POOL_EXHAUST_SCENARIO_HELD_H */

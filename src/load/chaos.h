/*
 * chaos.h
 *		Seeded fault injection: disturbs the sessions of a run at random.
 *
 * It hooks into the sessions of a login: see LoginHooks.  Where it does not, all
 * of it costs the test of one pointer.
 */
#pragma once

#include "common/pg_prng.h"

#include "base/words.h"
#include "event/alarm.h"
#include "load/session.h"

#define CHAOS_KIND_LIST(ROW) \
	ROW(CHAOS_TERMINATE, "terminate")	/* the server is asked to end the session */ \
	ROW(CHAOS_DROP, "drop")				/* its socket is shut down, without a message */ \
	ROW(CHAOS_STALL, "stall")			/* what the server says is read later */ \
	ROW(CHAOS_DELAY, "delay")	/* the next connect begins later */

typedef enum ChaosKind
{
	CHAOS_KIND_LIST(LIST_MEMBER)
} ChaosKind;

#define CHAOS_KINDS LIST_COUNT(CHAOS_KIND_LIST)

/* Sets of 1 << ChaosKind: what may happen for now. */
#define CHAOS_NONE		0
#define CHAOS_DELAYS	(1 << CHAOS_DELAY)
#define CHAOS_GENTLE	(CHAOS_DELAYS | 1 << CHAOS_STALL)	/* no session is ended */
#define CHAOS_ALL		((1 << CHAOS_KINDS) - 1)

#define STALL_MIN_MS	50
#define STALL_MAX_MS	500
#define DELAY_MIN_MS	10
#define DELAY_MAX_MS	200

/* Acts beyond these happen too, but are not listed. */
#define CHAOS_ACTS_MAX	1000

#define ACT_END_LIST(ROW) \
	ROW(ACT_MISSED, "missed")			/* there was no session that it could affect */ \
	ROW(ACT_WITHHELD, "withheld")		/* its kind was not to happen then */ \
	ROW(ACT_DONE, "done")

typedef enum ActEnd
{
	ACT_END_LIST(LIST_MEMBER)
} ActEnd;

extern const char *const chaos_kind_names[CHAOS_KINDS];
extern const char *const act_end_names[];

/* What it has done to the sessions of one login, by kind of act. */
typedef struct ChaosCounts
{
	uint64		done[CHAOS_KINDS];
} ChaosCounts;

/* Everything but its end is decided by the seed. */
typedef struct ChaosAct
{
	uint64		at_us;			/* after the begin */
	ChaosKind	kind;
	double		pick;			/* which session: 0 is the oldest, nearly 1 the newest */
	double		extent;			/* of a stall or a delay: 0 is the shortest */
	ActEnd		end;
} ChaosAct;

typedef struct Chaos
{
	AlarmClock *clock;			/* NULL: there is no chaos */
	double		rate;			/* acts a second */
	pg_prng_state prng;
	uint64		begun_us;
	Alarm		alarm;			/* the next act is due */
	ChaosAct	next;
	int			kinds;			/* what may happen for now */
	uint64		delay_us;		/* of the next connect, 0 = none */
	ChaosAct   *delay;			/* the act that delays it, if that is listed */
	dlist_head	late;			/* sessions whose connect is delayed */
	dlist_head	open;			/* open sessions, in the order of opening */
	dlist_head	ended;			/* by it, and not yet closed by their owners */
	uint64		drawn;			/* acts so far */
	ChaosCounts counts;			/* of all logins */
	ChaosAct   *acts;			/* the first of them */
	int			nacts;
} Chaos;

extern void chaos_begin(Chaos *chaos, AlarmClock *clock, double rate, int64 seed);
extern void chaos_allow(Chaos *chaos, int kinds);
extern void chaos_end(Chaos *chaos);
extern void chaos_concern(Chaos *chaos, Login *login, Oid role, ChaosCounts *counts);

extern uint64 chaos_acts_done(const ChaosCounts *counts);
extern uint64 chaos_sessions_ended(const ChaosCounts *counts);
extern int	chaos_wait_ms(const ChaosCounts *counts);

/* It has ended sessions that their owners have not closed yet. */
static inline bool
chaos_unnoticed(const Chaos *chaos)
{
	return chaos->clock != NULL && !dlist_is_empty((dlist_head *) &chaos->ended);
}

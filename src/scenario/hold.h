/*
 * hold.h
 *		Connections held by hand: what they can be held in, and the run that
 *		holds them.
 */
#ifndef POOL_EXHAUST_SCENARIO_HOLD_H
#define POOL_EXHAUST_SCENARIO_HOLD_H

#include "story/story.h"

typedef struct HoldKind
{
	const char *name;
	bool		only_leaks;		/* a kind of leak, and no state of a connection */
	bool		anywhere;		/* also on foreign servers */
	int			beside;			/* sessions that it opens beside those, at least */
	int			beside_each;	/* and beside each of them */
	bool		stalls;			/* its logins never come through */
	const char *sql;			/* what each session runs; NULL: that depends */
	bool		lasts;			/* and goes on running, as long as the hold does */
	bool		fails;			/* and fails, on purpose */
	uint32		wait_event;		/* what it then waits for ... */
	uint32		wait_mask;		/* ... in these bits */
} HoldKind;

extern const HoldKind hold_kinds[HOLD_STATES];

/* Not in the table of scenarios: it has no verdict and leaves no record. */
extern const Scenario scenario_hold;

/* Sessions that the hold opens beside those that it was asked for, and in all. */
static inline int
hold_beside(const HoldRequest *request)
{
	const HoldKind *kind = &hold_kinds[request->state];

	return Max(kind->beside, kind->beside_each * request->connections);
}

static inline int
hold_sessions(const HoldRequest *request)
{
	return request->connections + hold_beside(request);
}

pg_noreturn extern void hold_refused(Run *run, Cause cause, const char *sqlstate, int after);
extern bool hold_is_busy(const struct Hold *hold);
extern int	hold_hang_up(Run *run);

#endif							/* POOL_EXHAUST_SCENARIO_HOLD_H */

/*
 * hold.h
 *		Connections held by hand: what they can be held in, and the run that
 *		holds them.
 */
#pragma once

#include "scenario/held.h"
#include "story/story.h"

extern const HoldKind hold_kinds[];
extern const int nhold_kinds;

extern char *hold_kinds_text(bool (*wanted) (const HoldKind *kind));

/* Not in the table of scenarios: it has no verdict and leaves no record. */
extern const Scenario scenario_hold;

/* Returns how many sessions the hold opens beside those that it was asked for. */
static inline int
hold_beside(const HoldRequest *request)
{
	const HoldKind *kind = &hold_kinds[request->kind];

	return Max(kind->beside, kind->beside_each * request->connections);
}

/* Returns how many sessions the hold opens in all. */
static inline int
hold_sessions(const HoldRequest *request)
{
	return request->connections + hold_beside(request);
}

pg_noreturn extern void hold_refused(Run *run, Cause cause, const char *sqlstate, int granted);
extern bool hold_is_busy(const Hold *hold);
extern void hold_end_stalled(Run *run);
extern int	hold_stalled_left(Run *run);

/*
 * hold.h
 *		Connections held by hand: what they can be held in, and the run that
 *		holds them.
 */
#pragma once

#include "story/story.h"

struct Hold;

/* A state that connections are held in, or a kind of leak. */
typedef struct HoldKind
{
	const char *name;
	bool		only_leaks;		/* a kind of leak, and no state of a connection */
	bool		anywhere;		/* also on foreign servers */
	int			beside;			/* sessions that it opens beside those, at least */
	int			beside_each;	/* and beside each of them */
	bool		stalls;			/* its logins are never granted */
	bool		grows;			/* its sessions come one after another, each used once */
	bool		vanishes;		/* its clients close their sockets, and the sessions go on */
	const char *sql;			/* what each session runs; NULL: that depends */
	bool		locks;			/* it waits for a lock that the one beside it holds */
	bool		lasts;			/* its statement goes on running, as long as the hold does */
	bool		fails;			/* and fails, on purpose */
	uint32		wait_event;		/* what it then waits for ... */
	uint32		wait_mask;		/* ... in these bits */
	void		(*open) (struct Hold *hold);	/* opens all its sessions; NULL: at once */
} HoldKind;

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
extern bool hold_is_busy(const struct Hold *hold);
extern void hold_end_stalled(Run *run);
extern int	hold_stalled_left(Run *run);

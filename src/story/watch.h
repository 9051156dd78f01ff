/*
 * watch.h
 *		The run's pool as the monitor sees it.
 */
#ifndef POOL_EXHAUST_STORY_WATCH_H
#define POOL_EXHAUST_STORY_WATCH_H

#include "lib/stringinfo.h"

#include "shmem/shared.h"

struct Run;

typedef struct Watch
{
	const char *absent;			/* why there is nothing to watch, or NULL */
	PoolKind	kind;
	Oid			oid;
	uint64		seen;			/* counts the monitor's transitions */
	Health		health;			/* as of the last one */
	StringInfoData path;		/* "healthy > warning > ...", the way up */
	uint64		reached_us[HEALTHS];	/* when the pool got there; 0 = not yet */
	uint64		noticed_us[HEALTHS];	/* when the monitor said so */
} Watch;

extern void watch_begin(struct Run *run);
extern void watch_reached(struct Run *run, Health health);
extern uint64 watch_wait(struct Run *run, Health at_least, Health at_most);
extern char *watch_note(const struct Run *run);

#endif							/* POOL_EXHAUST_STORY_WATCH_H */

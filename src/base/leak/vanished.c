/*
 * vanished.c
 *		Sessions that were left all at once, and that others from the same client host followed.
 *
 * A client that vanishes without a word, because it is stopped, its host hangs, or a proxy
 * between went silent, leaves sessions that are idle for ever.  When it is up again it
 * opens others.  To a server an instance looks the same that has handed its traffic to
 * another one and is kept in reserve, but for one thing: there the traffic goes on.
 *
 * So: sessions of one service that worked, as those of a pool do, were left at one
 * moment; none that was there then has been used since; for a while the service did nothing
 * at all; and then it opened sessions of which at least as many are in use as were left.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* So many are a pool; fewer may be a job, or people. */
#define VANISHED_MIN	3

/* What was left within an eighth of the threshold was left at one moment. */
#define MOMENT_PART		8

/* The service did nothing for half the threshold, but no longer than it takes a host to come up. */
#define PAUSE_PART		2
#define PAUSE_FACTOR	10

/* Is it of a pool, and was left with all that were there, as long ago as no instance takes to drain? */
static bool
may_have_vanished(const LeakWatch *watch, const LeakSession *session, uint64 threshold_us)
{
	return session->rule == LEAK_NONE && !session->outlived && leak_is_left(watch, session) &&
		session->since_us > watch->groups[session->group].watched_us &&
		watch->observed_us >= session->since_us + LEAK_DRAIN_FACTOR * threshold_us;
}

/* Returns when the last of them was left; 0: there is none. */
static uint64
last_left(const LeakWatch *watch, const LeakGroup *group, uint64 threshold_us)
{
	uint64		last_us = 0;

	for (int i = group->first; i >= 0; i = watch->sessions[i].next)
		if (may_have_vanished(watch, &watch->sessions[i], threshold_us))
			last_us = Max(last_us, watch->sessions[i].since_us);
	return last_us;
}

/* Finds those that vanished last, and what came after them. */
static void
group_find_vanished(const LeakWatch *watch, LeakGroup *group, uint64 threshold_us)
{
	uint64		until_us = last_left(watch, group, threshold_us);
	uint64		since_us = until_us - Min(until_us, threshold_us / MOMENT_PART);
	uint64		next_us = LEAK_NEVER_US;
	int			vanished = 0;
	int			followers = 0;

	for (int i = group->first; i >= 0; i = watch->sessions[i].next)
	{
		const LeakSession *session = &watch->sessions[i];

		vanished += session->since_us >= since_us && may_have_vanished(watch, session, threshold_us);
		if (session->started_us <= until_us)
			continue;
		followers += leak_is_in_use(watch, session);
		next_us = Min(next_us, session->started_us);
	}
	group->vanished = 0;
	if (vanished < VANISHED_MIN || followers < vanished ||
		next_us < until_us + threshold_us / PAUSE_PART || next_us > until_us + PAUSE_FACTOR * threshold_us)
		return;
	group->vanished = vanished;
	group->vanished_since_us = since_us;
	group->vanished_pause_us = next_us - until_us;
}

/* Returns whether the session is one of those that were left all at once, and followed by others. */
bool
leak_has_vanished(LeakWatch *watch, const LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];
	uint64		threshold_us = (uint64) session->seen.threshold_ms * 1000;

	if (group->left < VANISHED_MIN || group->working < VANISHED_MIN || !may_have_vanished(watch, session, threshold_us))
		return false;
	if (group->vanished < 0)
		group_find_vanished(watch, group, threshold_us);
	return group->vanished > 0 && session->since_us >= group->vanished_since_us;
}

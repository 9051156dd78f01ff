/*
 * vanished.c
 *		Sessions of a client that vanished, and is up again.
 *
 * A client that vanishes without a word, because it is stopped, its host hangs, or a proxy
 * between went silent, leaves sessions that are idle for ever.  When it is up again it
 * opens others.  To a server an instance looks the same that has handed its traffic to
 * another one and is kept in reserve, but for one thing: there the traffic goes on.
 *
 * So: sessions of one service were in use up to a moment; none that was there then has been
 * used since; for a while, much longer than from one use to the next, nothing was done at all;
 * and then it opened sessions, of which at least as many are in use.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* So many are a pool; fewer may be a job, or people. */
#define VANISHED_MIN	3

/* Nothing was done for half the threshold, but no longer than it takes a host to come up. */
#define PAUSE_PART		2
#define PAUSE_FACTOR	10

/* Nor for so many times the time between two uses, on average. */
#define PAUSE_USES		8

/*
 * Notes a pause of the group if it ends with that session, which has just been opened.  To be
 * called before it is noted that the group is in use.
 */
void
leak_note_pause(const LeakWatch *watch, LeakGroup *group, const LeakSession *session)
{
	uint64		pause_us = (uint64) session->seen.threshold_ms * 1000 / PAUSE_PART;

	if (watch->late || group->used_us == 0 || session->started_us < group->used_us + pause_us)
		return;
	group->paused_us = group->used_us;
	group->resumed_us = session->started_us;
}

/*
 * Was it in use up to then, by the measure of leak_is_in_use(), and lies idle for as long as no
 * instance takes to drain?
 */
static bool
was_in_use(const LeakWatch *watch, const LeakSession *session, uint64 then_us, uint64 threshold_us)
{
	return session->rule == LEAK_NONE && session->uses >= LEAK_USES_MIN && leak_lies_idle(watch, session) &&
		session->since_us <= then_us && session->since_us + LEAK_IN_USE_FACTOR * threshold_us >= then_us &&
		watch->observed_us >= session->since_us + LEAK_DRAIN_FACTOR * threshold_us;
}

/* Was the last pause long, for a service whose sessions were used so often in so long a time? */
static bool
is_long_pause(const LeakGroup *group, uint64 uses, uint64 lived_us, uint64 threshold_us)
{
	uint64		pause_us = group->resumed_us - group->paused_us;

	return pause_us <= PAUSE_FACTOR * threshold_us && (double) pause_us * uses >= (double) PAUSE_USES * lived_us;
}

/* Finds those that were in use before the last pause, if no session that was there then goes on. */
static void
group_find_vanished(const LeakWatch *watch, LeakGroup *group, uint64 threshold_us)
{
	uint64		first_us = group->paused_us;
	uint64		uses = 0;
	int			vanished = 0;
	int			followers = 0;

	group->vanished = 0;
	for (int i = group->first; i >= 0; i = watch->sessions[i].next)
	{
		const LeakSession *session = &watch->sessions[i];

		if (session->started_us > group->paused_us)
			followers += leak_is_in_use(watch, session);
		else if (leak_used_us(watch, session) > group->paused_us)
			return;
		else if (was_in_use(watch, session, group->paused_us, threshold_us))
		{
			vanished++;
			uses += session->uses;
			first_us = Min(first_us, session->started_us);
		}
	}
	if (vanished >= VANISHED_MIN && followers >= vanished &&
		is_long_pause(group, uses, group->paused_us - first_us, threshold_us))
		group->vanished = vanished;
}

/* Returns whether the session is one of those that a client left that vanished, and is up again. */
bool
leak_has_vanished(LeakWatch *watch, const LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];
	uint64		threshold_us = (uint64) session->seen.threshold_ms * 1000;

	if (group->idle < VANISHED_MIN || group->working < VANISHED_MIN ||
		!was_in_use(watch, session, group->paused_us, threshold_us))
		return false;
	if (group->vanished < 0)
		group_find_vanished(watch, group, threshold_us);
	return group->vanished > 0;
}

/*
 * leak_session.c
 *		What the leak rules remember of sessions, from one observation to the next.
 *
 * Each slot has a leak session, of the session in it, and each service a group of those
 * that could share a pool.  An observation notes the slots one by one; what it adds up for
 * a group begins anew when the group is touched first.
 *
 * A group of which all sessions are idle, and as they were before, is not touched: it
 * sleeps until time alone could change what is said of it.  What it has been judged to be stands
 * meanwhile.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* Of more observations than that the older ones count for less. */
#define OBSERVATIONS_MAX	100000

/* So many times longer than ever before a session must lie idle. */
#define REST_FACTOR		2

/* Returns for how long the session has been in its state, in microseconds. */
uint64
leak_held_us(const LeakSession *session, uint64 now_us)
{
	return now_us > session->since_us ? now_us - session->since_us : 0;
}

/* For so much of its service's active time the session has not been used. */
static uint64
rested_us(const LeakGroup *group, const LeakSession *session)
{
	return group->active_us > session->active_us ? group->active_us - session->active_us : 0;
}

/* Returns whether the session has not been used for twice as long as "before_us" of that time. */
bool
leak_has_rested(const LeakGroup *group, const LeakSession *session, uint64 before_us)
{
	return rested_us(group, session) >= REST_FACTOR * before_us;
}

/* Returns how many groups a table needs; it is begun anew when half of them are taken. */
int
leak_groups_max(int nslots)
{
	int			n = 16;

	while (n < 4 * nslots)
		n *= 2;
	return n;
}

/*
 * A new observation: nothing of it has been added up yet.  Sessions that were closed
 * before show how long idle ones are kept; unless most were, which is the end of
 * a process, and not of an idle session.
 */
static void
group_begin(const LeakWatch *watch, LeakGroup *group)
{
	if (group->closed <= group->sessions)
		group->closed_us = Max(group->closed_us, group->closing_us);
	group->closed = 0;
	group->closing_us = 0;
	group->observed_us = watch->observed_us;
	group->wake_us = LEAK_NEVER_US;
	group->first = group->first_fresh = group->newest = -1;
	group->sessions = group->idle = group->forgotten = group->lost = group->keepers = 0;
	group->keepers_at = group->forgotten_at = group->replaced = group->vanished = -1;
	group->working = group->left = 0;
	group->oldest_used_us = LEAK_NEVER_US;
	group->fresh = 0;
	group->was_idle_us = LEAK_NEVER_US;
	group->active = false;
	if (watch->before_us == 0)
		group->watched_us = watch->observed_us;
}

/* The group of a service; its table is never full. */
static int
group_find(LeakWatch *watch, uint64 service)
{
	int			i = (int) (service & (watch->ngroups - 1));
	LeakGroup  *group = &watch->groups[i];

	while (group->taken && group->service != service)
	{
		i = (i + 1) & (watch->ngroups - 1);
		group = &watch->groups[i];
	}
	if (!group->taken)
	{
		*group = (LeakGroup) {.taken = true, .service = service};
		watch->taken++;
	}
	if (group->observed_us != watch->observed_us)
		group_begin(watch, group);
	return i;
}

/*
 * Begins an observation.  "gap" says whether there was none for a while, so that
 * sessions may have come and gone.  Services that came and went would fill the
 * table of groups; then it is begun anew.
 */
void
leak_observation_begin(LeakWatch *watch, uint64 now_us, LeakGap gap)
{
	bool		full = watch->taken > watch->ngroups / 2;

	watch->before_us = gap == LEAK_BLIND || full ? 0 : watch->observed_us;
	watch->late = gap == LEAK_LATE;
	watch->judges_all = watch->before_us == 0 || watch->late;
	watch->number++;
	watch->observed_us = now_us;
	watch->nstarts = 0;
	watch->nnoted = 0;
	if (full)
	{
		memset(watch->groups, 0, sizeof(LeakGroup) * watch->ngroups);
		watch->taken = 0;
		for (int i = 0; i < watch->nslots; i++)
			watch->sessions[i].active_us = 0;
	}
}

/* The session has come back to life, or has ended: it is not suspected any more. */
void
leak_clear(LeakWatch *watch, LeakSession *session, bool alive)
{
	LeakCounts *counts = &watch->counts[session->counted];

	/* A session that was terminated is counted as healed. */
	if (session->counted != LEAK_NONE && session->healed_us == 0)
	{
		counts->unleaked += alive;
		counts->ended += !alive;
	}
	session->rule = session->counted = LEAK_NONE;
	session->healed_us = 0;
}

/* A session has ended. */
static void
leak_end(LeakWatch *watch, LeakSession *session)
{
	LeakGroup  *group = &watch->groups[group_find(watch, session->seen.service)];

	if (session->healed_us == 0)
	{
		group->closed++;
		if (session->seen.state == SLOT_IDLE && !session->seen.has_idle_reason)
			group->closing_us = Max(group->closing_us, rested_us(group, session));
	}
	if (session->uses >= LEAK_USES_MIN)
	{
		group->ended++;
		group->longest_us = Max(group->longest_us, watch->observed_us - session->started_us);
	}
	leak_clear(watch, session, false);
	memset(session, 0, sizeof(*session));
}

/*
 * When something began, by the monotonic clock.  The server's clock may have
 * been set meanwhile, so it is believed only as far as the observation before allows.
 */
static uint64
began_us(const LeakWatch *watch, TimestampTz began, TimestampTz now, uint64 not_before_us)
{
	uint64		age_us = now > began ? (uint64) (now - began) : 0;

	return Max(watch->observed_us - Min(age_us, watch->observed_us), not_before_us);
}

static void
leak_begin(LeakWatch *watch, LeakSession *session, const LeakObservation *observation, TimestampTz now)
{
	*session = (LeakSession) {
		.started_us = began_us(watch, observation->started, now, 0),
		.since_us = began_us(watch, observation->state_since, now, watch->before_us),
		.fresh = true,
		.seen_at = watch->number - 1,
		.needless = watch->late,	/* nothing says that it was opened for want of one */
	};
}

/* Not in the state any more in which the observation before saw it. */
static void
leak_move(LeakWatch *watch, LeakSession *session, const LeakObservation *observation, TimestampTz now)
{
	LeakGroup  *group = &watch->groups[group_find(watch, session->seen.service)];
	uint64		since_us = began_us(watch, observation->state_since, now, watch->before_us);

	session->moved = true;
	if (session->seen.state == SLOT_IDLE)
	{
		group->rested_us = Max(group->rested_us, leak_held_us(session, since_us));
		if (!session->seen.has_idle_reason)
			group->reused_us = Max(group->reused_us, rested_us(group, session));
		session->uses++;
		group->was_idle_us = Min(group->was_idle_us, session->since_us);
		group->oldest_used_us = Min(group->oldest_used_us, session->started_us);
	}
	leak_clear(watch, session, true);
	session->since_us = since_us;
}

/*
 * If the session is or was in use, its service is active.  For how much of the time in which
 * nothing was observed it was is not known: that does not count.
 */
static void
group_note_use(const LeakWatch *watch, LeakGroup *group, LeakSession *session)
{
	if (!session->fresh && !session->moved && session->seen.state == SLOT_IDLE)
		return;
	if (!group->active && watch->before_us != 0 && !watch->late)
		group->active_us += watch->observed_us - watch->before_us;
	group->active = true;
	leak_group_wake_at(group, watch->observed_us);
	session->active_us = group->active_us;
	group->used_us = Max(group->used_us, leak_used_us(watch, session));
}

/* Counts the observations since the last one that was counted; in those the session was idle. */
static void
count_observation(const LeakWatch *watch, LeakSession *session)
{
	session->observations += (int) (watch->number - session->seen_at);
	session->seen_at = watch->number;
	session->busy_observations += session->seen.state != SLOT_IDLE;
	while (session->observations >= OBSERVATIONS_MAX)
	{
		session->observations -= OBSERVATIONS_MAX / 2;
		session->busy_observations /= 2;
	}
}

/*
 * Notes what an observation says of a slot; NULL: there is no session.  "now" is the
 * server's clock.  To be called once for each slot between leak_observation_begin() and
 * leak_judge(); it need not be for one that had no session before, and has none now.
 */
void
leak_note(LeakWatch *watch, int number, const LeakObservation *observation, TimestampTz now)
{
	LeakSession *session = &watch->sessions[number];

	if (session->seen.pid != 0 &&
		(observation == NULL || observation->pid != session->seen.pid || observation->started != session->seen.started))
		leak_end(watch, session);
	if (observation == NULL)
		return;
	session->fresh = session->moved = false;
	if (session->seen.pid == 0)
		leak_begin(watch, session, observation, now);
	else if (observation->state_since != session->seen.state_since || observation->state != session->seen.state)
		leak_move(watch, session, observation, now);
	if (observation->borrower.since != session->seen.borrower.since)
		session->borrowed_us = began_us(watch, observation->borrower.since, now, session->started_us);
	session->seen = *observation;
	session->group = watch->group_of[number] = group_find(watch, observation->service);
	watch->noted[watch->nnoted++] = (LeakNoted) {.number = number};
	if (session->fresh)
		leak_note_pause(watch, &watch->groups[session->group], session);
	group_note_use(watch, &watch->groups[session->group], session);
	count_observation(watch, session);
}

/* Notes a session of which nothing is new, in a group that does not sleep. */
static void
note_again(LeakWatch *watch, int number)
{
	LeakSession *session = &watch->sessions[number];

	session->fresh = session->moved = false;
	session->group = watch->group_of[number] = group_find(watch, session->seen.service);
	group_note_use(watch, &watch->groups[session->group], session);
	count_observation(watch, session);
}

/*
 * The same of a slot of which all is as leak_note() was given last, and whether the session is
 * idle: that costs little if it is so of all sessions of its group.
 */
void
leak_note_same(LeakWatch *watch, int number, bool idle)
{
	watch->noted[watch->nnoted++] = (LeakNoted) {.number = number, .same = idle};
	if (!idle)
		note_again(watch, number);
}

/* Has nothing happened in the group since it was judged, and time changes nothing either? */
static bool
group_sleeps(const LeakWatch *watch, const LeakGroup *group)
{
	return group->observed_us != watch->observed_us && group->closed == 0 &&
		watch->observed_us < group->wake_us && !watch->judges_all;
}

static void
group_add(LeakWatch *watch, int number)
{
	LeakSession *session = &watch->sessions[number];
	LeakGroup  *group = &watch->groups[session->group];

	group->names_borrowers |= session->seen.borrower.named;
	group->sessions++;
	session->next = group->first;
	group->first = number;
	if (session->fresh)
	{
		group->fresh++;
		session->next_fresh = group->first_fresh;
		group->first_fresh = number;
	}
	if (group->newest < 0 || watch->sessions[group->newest].started_us < session->started_us)
		group->newest = number;
}

/*
 * When all slots have been noted: keeps those whose groups do not sleep, and makes the groups of
 * these, in the order of slots.
 */
void
leak_groups_wake(LeakWatch *watch)
{
	int			n = 0;

	for (int i = 0; i < watch->nnoted; i++)
	{
		LeakNoted  *noted = &watch->noted[i];

		if (noted->same && group_sleeps(watch, &watch->groups[watch->group_of[noted->number]]))
			continue;
		if (noted->same)
			note_again(watch, noted->number);
		group_add(watch, noted->number);
		watch->noted[n++] = *noted;
	}
	watch->nnoted = n;
}

/*
 * A new watcher takes over what the one before it saw, but not what that one
 * suspected: it will find the same, if it is still so.
 */
void
leak_forget(LeakWatch *watch)
{
	for (int i = 0; i < watch->nslots; i++)
		watch->sessions[i].rule = LEAK_NONE;
	watch->taken = 0;
	for (int i = 0; i < watch->ngroups; i++)
		watch->taken += watch->groups[i].taken;
}

/*
 * leak_session.c
 *		What the leak rules remember of sessions, from one look to the next.
 *
 * Each slot has a track of the session in it, and each service a group of those
 * that could share a pool.  A look notes the slots one by one; what it adds up for
 * a group begins anew when the group is touched first.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* Of more looks than that the older ones count for less. */
#define LOOKS_MAX	100000

/* Returns for how long the session has been in its state, in microseconds. */
uint64
leak_held_us(const LeakTrack *track, uint64 now_us)
{
	return now_us > track->since_us ? now_us - track->since_us : 0;
}

/* For so much of its service's active time the session has not been used. */
uint64
leak_rested_us(const LeakGroup *group, const LeakTrack *track)
{
	return group->active_us > track->active_us ? group->active_us - track->active_us : 0;
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
 * A new look: nothing of it has been added up yet.  Sessions that were closed
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
	group->looked_us = watch->looked_us;
	group->first = group->first_fresh = group->newest = -1;
	group->sessions = group->idle = group->forgotten = group->lost = group->keepers = 0;
	group->keepers_at = group->forgotten_at = -1;
	group->fresh = 0;
	group->was_idle_us = LEAK_NEVER_US;
	group->active = false;
	if (watch->before_us == 0)
		group->watched_us = watch->looked_us;
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
	if (group->looked_us != watch->looked_us)
		group_begin(watch, group);
	return i;
}

/*
 * Begins a look.  "blind" says that nobody has looked for a while, so that
 * sessions may have come and gone.  Services that came and went would fill the
 * table of groups; then it is begun anew.
 */
void
leak_look_begin(LeakWatch *watch, uint64 now_us, bool blind)
{
	bool		full = watch->taken > watch->ngroups / 2;

	watch->before_us = blind || full ? 0 : watch->looked_us;
	watch->looked_us = now_us;
	watch->nstarts = 0;
	if (full)
	{
		memset(watch->groups, 0, sizeof(LeakGroup) * watch->ngroups);
		watch->taken = 0;
		for (int i = 0; i < watch->nslots; i++)
			watch->tracks[i].active_us = 0;
	}
}

/* The session has come back to life, or has ended: it is not suspected any more. */
void
leak_clear(LeakWatch *watch, LeakTrack *track, bool alive)
{
	LeakCounts *counts = &watch->counts[track->counted];

	/* Who was told to end is counted as healed. */
	if (track->counted != LEAK_NONE && track->healed_us == 0)
	{
		counts->unleaked += alive;
		counts->ended += !alive;
	}
	track->rule = track->counted = LEAK_NONE;
	track->healed_us = 0;
}

/* A session has ended. */
static void
leak_end(LeakWatch *watch, LeakTrack *track)
{
	LeakGroup  *group = &watch->groups[group_find(watch, track->service)];

	if (track->healed_us == 0)
	{
		group->closed++;
		if (track->state == SLOT_IDLE && !track->on_purpose)
			group->closing_us = Max(group->closing_us, leak_rested_us(group, track));
	}
	if (track->uses >= LEAK_USES_MIN)
	{
		group->ended++;
		group->longest_us = Max(group->longest_us, watch->looked_us - track->started_us);
	}
	leak_clear(watch, track, false);
	memset(track, 0, sizeof(*track));
}

/*
 * When something began, by the monotonic clock.  The server's clock may have
 * been set meanwhile, so it is believed only as far as the look before allows.
 */
static uint64
began_us(const LeakWatch *watch, TimestampTz began, TimestampTz now, uint64 not_before_us)
{
	uint64		age_us = now > began ? (uint64) (now - began) : 0;

	return Max(watch->looked_us - Min(age_us, watch->looked_us), not_before_us);
}

static void
leak_begin(LeakWatch *watch, LeakTrack *track, const LeakLook *look, TimestampTz now)
{
	memset(track, 0, sizeof(*track));
	track->pid = look->pid;
	track->role = look->role;
	track->started = look->started;
	track->started_us = began_us(watch, look->started, now, 0);
	track->since_us = began_us(watch, look->state_since, now, watch->before_us);
	track->fresh = true;
}

/* Not in the state any more in which the look before saw it. */
static void
leak_move(LeakWatch *watch, LeakTrack *track, const LeakLook *look, TimestampTz now)
{
	LeakGroup  *group = &watch->groups[group_find(watch, track->service)];

	track->moved = true;
	if (track->state == SLOT_IDLE)
	{
		if (!track->on_purpose)
			group->reused_us = Max(group->reused_us, leak_rested_us(group, track));
		track->uses++;
		group->was_idle_us = Min(group->was_idle_us, track->since_us);
	}
	leak_clear(watch, track, true);
	track->since_us = began_us(watch, look->state_since, now, watch->before_us);
}

/* If the session is or was in use, its service is active. */
static void
group_note_use(const LeakWatch *watch, LeakGroup *group, LeakTrack *track)
{
	if (!track->fresh && !track->moved && track->state == SLOT_IDLE)
		return;
	if (!group->active && watch->before_us != 0)
		group->active_us += watch->looked_us - watch->before_us;
	group->active = true;
	track->active_us = group->active_us;
}

static void
group_add(LeakWatch *watch, int number)
{
	LeakTrack  *track = &watch->tracks[number];
	LeakGroup  *group;

	track->group = group_find(watch, track->service);
	group = &watch->groups[track->group];
	group_note_use(watch, group, track);
	group->sessions++;
	track->next = group->first;
	group->first = number;
	if (track->fresh)
	{
		group->fresh++;
		track->next_fresh = group->first_fresh;
		group->first_fresh = number;
	}
	if (group->newest < 0 || watch->tracks[group->newest].started_us < track->started_us)
		group->newest = number;
}

/*
 * Notes what a look says of a slot; NULL: there is no session.  "now" is the
 * server's clock.  To be called for each slot between leak_look_begin() and
 * leak_judge().
 */
void
leak_note(LeakWatch *watch, int number, const LeakLook *look, TimestampTz now)
{
	LeakTrack  *track = &watch->tracks[number];

	if (track->pid != 0 &&
		(look == NULL || look->pid != track->pid || look->started != track->started))
		leak_end(watch, track);
	if (look == NULL)
		return;
	track->fresh = track->moved = false;
	if (track->pid == 0)
		leak_begin(watch, track, look, now);
	else if (look->state_since != track->state_since || look->state != track->state)
		leak_move(watch, track, look, now);
	track->looked_us = watch->looked_us;
	track->state_since = look->state_since;
	track->state = look->state;
	track->aborted = look->aborted;
	track->on_purpose = look->on_purpose;
	track->client_gone = look->client_gone;
	track->service = look->service;
	track->threshold_ms = look->threshold_ms;
	track->busy_looks += look->state != SLOT_IDLE;
	if (++track->looks == LOOKS_MAX)
	{
		track->looks /= 2;
		track->busy_looks /= 2;
	}
	group_add(watch, number);
}

/*
 * A new watcher takes over what the one before it saw, but not what that one
 * suspected: it will find the same, if it is still so.
 */
void
leak_forget(LeakWatch *watch)
{
	for (int i = 0; i < watch->nslots; i++)
		watch->tracks[i].rule = LEAK_NONE;
	watch->taken = 0;
	for (int i = 0; i < watch->ngroups; i++)
		watch->taken += watch->groups[i].taken;
}

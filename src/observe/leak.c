/*
 * leak.c
 *		The leak rules: which sessions nobody will give back.
 *
 * Each rule is about a session that has been held for longer than its threshold:
 *
 * idle in transaction
 *		It does nothing, and its transaction stays open.
 *
 * abandoned
 *		It is idle and was never used again, while its service opened further
 *		sessions and goes on using those.  A pool that still had this one would
 *		have used it.  That sounds easier than it is: pools replace what is too
 *		old, keep a minimum that nobody needs, shrink slowly after a burst, and
 *		many of them may share one service.  So a newer session counts only if
 *		it was not opened while one lay idle that was used later (who opens
 *		although it has an idle one does so for another reason); there must be
 *		some, more the more idle ones there are; and the service must either
 *		have more sessions than when this one was used last, or have worn out
 *		whole generations of them since.
 *
 * growth
 *		The last sessions that its service opened, over a time as long as the
 *		threshold, were never used again, and none was closed: it opens one
 *		where it needs one and forgets it.
 *
 * dead client
 *		Its client has gone, and it has not noticed, because it runs a statement.
 *
 * A suspicion ends when the session is used again, or when it ends.
 */
#include "postgres.h"

#include "leak.h"

/* This many newer ones, each used again this often, speak against a session. */
#define NEWER_MIN		2
#define USES_MIN		3

/* As many sessions opened and forgotten are a growth. */
#define CHAIN_MIN		5

/*
 * A pool that lacks a connection decides so a little before its new session
 * starts; what comes back in between is no sign that it had one.
 */
#define OPEN_US			(50 * 1000)

const char *const leak_rule_names[LEAK_RULES] = {
	[LEAK_NONE] = NULL,
	[LEAK_IDLE_IN_TRANSACTION] = "idle in transaction",
	[LEAK_ABANDONED] = "abandoned",
	[LEAK_GROWTH] = "growth",
	[LEAK_DEAD_CLIENT] = "dead client",
};

static uint64
held_us(const LeakTrack *track, uint64 now_us)
{
	return now_us > track->since_us ? now_us - track->since_us : 0;
}

/* Returns for how long the session has been in its state, in milliseconds. */
int64
leak_held_ms(const LeakTrack *track, uint64 now_us)
{
	return (int64) (held_us(track, now_us) / 1000);
}

static bool
held_too_long(const LeakWatch *watch, const LeakTrack *track)
{
	return held_us(track, watch->looked_us) > (uint64) track->threshold_ms * 1000;
}

/* Idle for longer than the threshold, and not on purpose. */
static bool
lies_idle(const LeakWatch *watch, const LeakTrack *track)
{
	return track->state == SLOT_IDLE && !track->listens && held_too_long(watch, track);
}

/* The last moment at which it was in use. */
static uint64
used_us(const LeakWatch *watch, const LeakTrack *track)
{
	return track->state == SLOT_IDLE ? track->since_us : watch->looked_us;
}

/* It has been used again and again, and lately. */
static bool
is_kept_in_use(const LeakWatch *watch, const LeakTrack *track)
{
	return track->uses >= USES_MIN && !track->needless &&
		watch->looked_us <= used_us(watch, track) + 2 * (uint64) track->threshold_ms * 1000;
}

/* Nothing of this look has been added up yet. */
static void
group_begin(const LeakWatch *watch, LeakGroup *group)
{
	group->looked_us = watch->looked_us;
	group->first = group->first_fresh = group->newest = group->keepers_at = -1;
	group->sessions = group->idle = group->chain = group->keepers = 0;
	group->touched_us = 0;
	group->chain_us = PG_UINT64_MAX;
	group->revived = false;
	if (watch->before_us == 0)
		group->ended_us = watch->looked_us;
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
	watch->nkeepers = 0;
	if (full)
	{
		memset(watch->groups, 0, sizeof(LeakGroup) * watch->ngroups);
		watch->taken = 0;
	}
}

static void
leak_suspect(LeakWatch *watch, LeakTrack *track, LeakRule rule)
{
	if (track->counted != rule)
		watch->counts[rule].found++;
	track->rule = track->counted = rule;
	track->suspected_us = watch->looked_us;
	track->evidence = (LeakEvidence) {
		.threshold_ms = track->threshold_ms,
		.sessions_then = track->sessions_then,
		.sessions_now = watch->groups[track->group].sessions,
	};
}

/* The session has come back to life, or has ended: it is not suspected any more. */
static void
leak_clear(LeakWatch *watch, LeakTrack *track, bool alive)
{
	LeakCounts *counts = &watch->counts[track->counted];

	if (track->counted != LEAK_NONE && alive)
		counts->unleaked++;
	else if (track->counted != LEAK_NONE && track->healed_us == 0)
		counts->ended++;
	track->rule = track->counted = LEAK_NONE;
}

/*
 * A session has ended.  One that was used as those of pools are is a generation
 * of its service: whoever was used last before it was even born has outlived
 * it.  "Before" is by more than a quarter of its life, because pools vary
 * lifetimes by some percent.
 */
static void
leak_end(LeakWatch *watch, LeakTrack *track)
{
	LeakGroup  *group = &watch->groups[group_find(watch, track->service)];
	uint64	   *greatest = group->generations_us;
	uint64		life_us = watch->looked_us - track->started_us;
	uint64		born_us = track->started_us - Min(life_us / 4, track->started_us);

	leak_clear(watch, track, false);
	group->ended_us = watch->looked_us;
	if (track->uses >= USES_MIN)
	{
		group->generations++;
		group->longest_us = Max(group->longest_us, life_us);
		greatest[1] = Max(greatest[1], Min(greatest[0], born_us));
		greatest[0] = Max(greatest[0], born_us);
	}
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
		track->uses++;
		track->was_idle_us = track->since_us;
	}
	group->revived |= track->rule == LEAK_GROWTH;
	leak_clear(watch, track, true);
	track->since_us = began_us(watch, look->state_since, now, watch->before_us);
}

static void
group_add(LeakWatch *watch, int number)
{
	LeakTrack  *track = &watch->tracks[number];
	LeakGroup  *group;

	track->group = group_find(watch, track->service);
	group = &watch->groups[track->group];
	group->sessions++;
	group->idle += lies_idle(watch, track);
	group->keepers += is_kept_in_use(watch, track);
	track->next = group->first;
	group->first = number;
	if (track->fresh)
	{
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
	track->was_idle_us = 0;
	if (track->pid == 0)
		leak_begin(watch, track, look, now);
	else if (look->state_since != track->state_since || look->state != track->state)
		leak_move(watch, track, look, now);
	track->state_since = look->state_since;
	track->state = look->state;
	track->aborted = look->aborted;
	track->listens = look->listens;
	track->client_gone = look->client_gone;
	track->service = look->service;
	track->threshold_ms = look->threshold_ms;
	group_add(watch, number);
}

/* How many sessions its service had when this one was used last. */
static int
sessions_at_use(const LeakWatch *watch, const LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];
	int			sessions = group->sessions;

	/* Of what was before the first look nothing is known, so that is no evidence. */
	for (int i = watch->before_us != 0 ? group->first_fresh : -1; i >= 0; i = watch->tracks[i].next_fresh)
		sessions -= watch->tracks[i].started_us > used_us(watch, track);
	return sessions;
}

/*
 * It was idle up to the look before, and has been used since.  Those that were
 * opened in that time were not opened for want of a session.
 */
static void
mark_needless(LeakWatch *watch, const LeakTrack *used)
{
	const LeakGroup *group = &watch->groups[used->group];

	if (watch->tracks[group->newest].started_us <= used->was_idle_us + OPEN_US)
		return;
	for (int i = group->first; i >= 0; i = watch->tracks[i].next)
	{
		LeakTrack  *track = &watch->tracks[i];

		track->needless |= track->started_us > used->was_idle_us + OPEN_US &&
			track->started_us < watch->before_us;
	}
}

/* The last one opened may still be in its first use. */
static bool
is_touched(const LeakGroup *group, const LeakTrack *track, int number)
{
	return track->uses > 0 || track->listens ||
		(track->state != SLOT_IDLE && number != group->newest);
}

/* What the session says of its group: who was opened and forgotten. */
static void
group_touch(LeakWatch *watch, int number)
{
	LeakTrack  *track = &watch->tracks[number];
	LeakGroup  *group = &watch->groups[track->group];

	if (is_touched(group, track, number))
		group->touched_us = Max(group->touched_us, track->started_us);
}

static bool
is_in_chain(const LeakGroup *group, const LeakTrack *track)
{
	return track->started_us > Max(group->touched_us, group->ended_us);
}

static int
compare_descending(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x > y ? -1 : x < y;
}

/* Puts down when those were opened that the group keeps in use, the newest first. */
static void
keepers_sort(LeakWatch *watch, LeakGroup *group)
{
	uint64	   *starts = watch->keepers + watch->nkeepers;
	int			n = 0;

	for (int i = group->first; i >= 0; i = watch->tracks[i].next)
		if (is_kept_in_use(watch, &watch->tracks[i]))
			starts[n++] = watch->tracks[i].started_us;
	qsort(starts, n, sizeof(uint64), compare_descending);
	group->keepers = n;
	group->keepers_at = watch->nkeepers;
	watch->nkeepers += n;
}

/* Are at least n of those that are kept in use newer than the last use of this one? */
static bool
has_newer(LeakWatch *watch, const LeakTrack *track, int n)
{
	LeakGroup  *group = &watch->groups[track->group];

	if (group->keepers < n)
		return false;
	if (group->keepers_at < 0)
		keepers_sort(watch, group);
	return group->keepers >= n && watch->keepers[group->keepers_at + n - 1] > used_us(watch, track);
}

static bool
judge_abandoned(LeakWatch *watch, LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];
	bool		grown;
	bool		outlived;
	int			newer;

	if (!lies_idle(watch, track) || !has_newer(watch, track, NEWER_MIN))
		return false;
	grown = group->sessions > track->sessions_then &&
		has_newer(watch, track, Max(NEWER_MIN, group->idle / 2));
	outlived = group->generations_us[1] > used_us(watch, track);
	if (!grown && !outlived)
		return false;
	leak_suspect(watch, track, LEAK_ABANDONED);
	for (newer = NEWER_MIN; has_newer(watch, track, newer + 1); newer++)
		;
	track->evidence.newer = newer;
	track->evidence.outlived = grown ? 0 : group->generations;
	return true;
}

static bool
judge_growth(LeakWatch *watch, LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];
	uint64		span_us;

	if (group->chain < CHAIN_MIN || !lies_idle(watch, track) || !is_in_chain(group, track))
		return false;
	span_us = watch->tracks[group->newest].started_us - group->chain_us;
	if (span_us < (uint64) track->threshold_ms * 1000)
		return false;
	leak_suspect(watch, track, LEAK_GROWTH);
	track->evidence.newer = group->chain;
	track->evidence.span_ms = (int) (span_us / 1000);
	return true;
}

static void
track_judge(LeakWatch *watch, LeakTrack *track)
{
	if (track->rule == LEAK_GROWTH && watch->groups[track->group].revived)
		leak_clear(watch, track, true);
	if (track->rule != LEAK_NONE)
		return;
	if (track->state == SLOT_IDLE_IN_TRANSACTION && held_too_long(watch, track))
		leak_suspect(watch, track, LEAK_IDLE_IN_TRANSACTION);
	else if (track->client_gone && track->state == SLOT_ACTIVE && held_too_long(watch, track))
		leak_suspect(watch, track, LEAK_DEAD_CLIENT);
	else if (!judge_abandoned(watch, track))
		judge_growth(watch, track);
}

#define foreach_track(watch, number) \
	for (int number = 0; number < (watch)->nslots; number++) \
		if ((watch)->tracks[number].pid != 0)

/* Ends a look: applies the rules to what was noted. */
void
leak_judge(LeakWatch *watch)
{
	foreach_track(watch, i)
	{
		LeakTrack  *track = &watch->tracks[i];

		if (track->fresh || track->moved || track->state != SLOT_IDLE)
			track->sessions_then = sessions_at_use(watch, track);
		if (track->was_idle_us != 0)
			mark_needless(watch, track);
		group_touch(watch, i);
	}
	foreach_track(watch, i)
	{
		const LeakTrack *track = &watch->tracks[i];
		LeakGroup  *group = &watch->groups[track->group];

		if (!is_in_chain(group, track))
			continue;
		group->chain++;
		group->chain_us = Min(group->chain_us, track->started_us);
	}
	foreach_track(watch, i)
		track_judge(watch, &watch->tracks[i]);
}

/*
 * A new watcher does not take over what the one before it suspected: it will
 * find the same again, if it is still so.
 */
void
leak_forget(LeakWatch *watch)
{
	foreach_track(watch, i)
	{
		watch->tracks[i].rule = LEAK_NONE;
	}
}

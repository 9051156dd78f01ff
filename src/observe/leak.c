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
 *		It is idle and was not used again, while its service opened further
 *		sessions and goes on using those: a pool that still had this one would
 *		have used it.  That is easily said.  Pools replace what is too old, keep
 *		a reserve that nobody needs, shrink slowly after a burst, are drained
 *		when an instance is replaced, and many of them may share one service.
 *		So there must be more sessions than when this one was used last; and
 *		twice as many newer ones, kept in use, as there are idle ones like it.
 *		Of these none counts that was opened while another one lay idle that was
 *		used later: who opens although it has one does so for other reasons.
 *
 * growth
 *		Its service opens sessions on one occasion after the other, uses each once
 *		and never comes back to them.
 *
 * dead client
 *		Its client has gone, and it has not noticed, because it runs a statement.
 *
 * Both are relative to what the service has shown of itself: who lies idle may be
 * suspected only when that has lasted twice as long as one ever lay idle and was
 * used again (or, for growth, was closed).  Only time counts in which the service
 * was active, so a night does not.
 *
 * A suspicion ends when the session is used again, when its service shows that it
 * comes back after so long, or when it ends.
 */
#include "postgres.h"

#include "leak.h"

/* At least so many newer ones speak against a session, each used again so often. */
#define NEWER_MIN		3
#define USES_MIN		3

/* And so many for each that lies idle like it. */
#define NEWER_FACTOR	2

/*
 * So many sessions are a growth; on a small server a sixth of its slots.
 * (Preforked workers connect when the first request reaches them; of a dozen
 * first requests none may reach the same one of two dozen workers twice.)
 */
#define GROWTH_MIN		5
#define GROWTH_MAX		16
#define GROWTH_PART		6

/* So many times longer than ever before it must lie idle. */
#define REST_FACTOR		2

/* One that was used more often than that, for however short a time, was of a pool. */
#define FORGOTTEN_USES	10

/*
 * Sessions that were opened after a pause so many times longer than usual, and twice
 * the threshold, begin another growth; what is usual, so many must show.
 */
#define PAUSE_FACTOR	8
#define PACE_MIN		4

/* What is opened within an eighth of the threshold is one occasion; two of it count. */
#define OCCASIONS		8
#define OCCASION_MAX	2

/*
 * A pool that lacks a connection decides so a little before its new session
 * starts; what comes back in between is no sign that it had one.
 */
#define OPEN_US			(50 * 1000)
#define NEVER_US		(PG_UINT64_MAX - OPEN_US)

/* Of more new sessions in one look it is not told which came first. */
#define FRESH_MAX		64

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

static uint64
threshold_us(const LeakTrack *track)
{
	return (uint64) track->threshold_ms * 1000;
}

static bool
held_too_long(const LeakWatch *watch, const LeakTrack *track)
{
	return held_us(track, watch->looked_us) > threshold_us(track);
}

/* Idle for longer than the threshold, and not on purpose. */
static bool
lies_idle(const LeakWatch *watch, const LeakTrack *track)
{
	return track->state == SLOT_IDLE && !track->on_purpose && held_too_long(watch, track);
}

/* For so much of its service's active time the session has not been used. */
static uint64
rested_us(const LeakGroup *group, const LeakTrack *track)
{
	return group->active_us > track->active_us ? group->active_us - track->active_us : 0;
}

/*
 * Idle for so long that it may be one of several that a burst or an instance left
 * behind.  Who is suspected already is none of those.
 */
static bool
lies_like_others(const LeakWatch *watch, const LeakTrack *track)
{
	return track->state == SLOT_IDLE && !track->on_purpose && track->rule == LEAK_NONE &&
		held_us(track, watch->looked_us) > threshold_us(track) / 2;
}

/* And for longer than its service has ever come back to one. */
static bool
lies_lost(const LeakWatch *watch, const LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];

	return lies_idle(watch, track) && rested_us(group, track) >= REST_FACTOR * group->reused_us;
}

/*
 * Not used for half of the threshold, and before that only in as long after its
 * start; and for longer than its service has ever come back to one, or closed it.
 */
static bool
is_forgotten(const LeakWatch *watch, const LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];

	return track->state == SLOT_IDLE && !track->on_purpose &&
		held_us(track, watch->looked_us) > threshold_us(track) / 2 &&
		track->since_us <= track->started_us + threshold_us(track) / 2 && track->uses <= FORGOTTEN_USES &&
		rested_us(group, track) >= REST_FACTOR * Max(group->reused_us, group->closed_us);
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
		watch->looked_us <= used_us(watch, track) + 2 * threshold_us(track);
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
	group->keepers_us = group->forgotten_us = NULL;
	group->fresh = 0;
	group->was_idle_us = NEVER_US;
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

/* Sessions of the group, without those that it has forgotten or lost; but with this one. */
static int
sessions_alive(const LeakWatch *watch, const LeakGroup *group, const LeakTrack *track)
{
	return group->sessions - group->forgotten - group->lost +
		(is_forgotten(watch, track) || track->rule == LEAK_ABANDONED);
}

static void
leak_suspect(LeakWatch *watch, LeakTrack *track, LeakRule rule)
{
	/* A new watcher may find by another rule what is counted already. */
	if (track->counted == LEAK_NONE)
	{
		watch->counts[rule].found++;
		track->counted = rule;
	}
	track->rule = rule;
	track->suspected_us = watch->looked_us;
	track->evidence = (LeakEvidence) {
		.threshold_ms = track->threshold_ms,
		.sessions_then = track->sessions_then,
		.sessions_now = sessions_alive(watch, &watch->groups[track->group], track),
	};
}

/* The session has come back to life, or has ended: it is not suspected any more. */
static void
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
			group->closing_us = Max(group->closing_us, rested_us(group, track));
	}
	if (track->uses >= USES_MIN)
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
			group->reused_us = Max(group->reused_us, rested_us(group, track));
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
	group->idle += lies_like_others(watch, track);
	group->forgotten += is_forgotten(watch, track);
	group->lost += track->rule == LEAK_ABANDONED && !is_forgotten(watch, track);
	group->keepers += is_kept_in_use(watch, track);
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
	track->state_since = look->state_since;
	track->state = look->state;
	track->aborted = look->aborted;
	track->on_purpose = look->on_purpose;
	track->client_gone = look->client_gone;
	track->service = look->service;
	track->threshold_ms = look->threshold_ms;
	group_add(watch, number);
}

/* How many of those there were when this one was used last. */
static int
sessions_at_use(const LeakWatch *watch, const LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];
	int			sessions = sessions_alive(watch, group, track);

	/*
	 * Of what was before the first look nothing is known, and of a crowd that
	 * came at once it would take long to know: so that is no evidence.
	 */
	if (watch->before_us == 0 || group->fresh > FRESH_MAX)
		return sessions;
	for (int i = group->first_fresh; i >= 0; i = watch->tracks[i].next_fresh)
		sessions -= watch->tracks[i].started_us > used_us(watch, track);
	return sessions;
}

/*
 * Some session of the group was idle up to the look before, and has been used
 * since.  Those that were opened in that time were not opened for want of one.
 */
static void
mark_needless(LeakWatch *watch, LeakGroup *group)
{
	uint64		from_us = group->was_idle_us + OPEN_US;

	if (from_us < watch->before_us && watch->tracks[group->newest].started_us > from_us)
		for (int i = group->first; i >= 0; i = watch->tracks[i].next)
		{
			LeakTrack  *track = &watch->tracks[i];

			track->needless |= track->started_us > from_us && track->started_us < watch->before_us;
		}
	group->was_idle_us = NEVER_US;
}

static int
compare_descending(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x > y ? -1 : x < y;
}

/*
 * Puts down when those sessions of the group were opened, the newest first, and
 * how many there are.
 */
static uint64 *
starts_sort(LeakWatch *watch, const LeakGroup *group,
			bool (*is_one) (const LeakWatch *watch, const LeakTrack *track), int *count)
{
	uint64	   *starts = watch->starts + watch->nstarts;
	int			n = 0;

	for (int i = group->first; i >= 0; i = watch->tracks[i].next)
		if (is_one(watch, &watch->tracks[i]))
			starts[n++] = watch->tracks[i].started_us;
	qsort(starts, n, sizeof(uint64), compare_descending);
	watch->nstarts += n;
	*count = n;
	return starts;
}

/*
 * Are at least n of those that are kept in use newer than the last use of this
 * one?  What was before the watch began is no evidence.
 */
static bool
has_newer(LeakWatch *watch, const LeakTrack *track, int n)
{
	LeakGroup  *group = &watch->groups[track->group];

	if (group->keepers < n)
		return false;
	if (group->keepers_us == NULL)
		group->keepers_us = starts_sort(watch, group, is_kept_in_use, &group->keepers);
	return group->keepers >= n &&
		group->keepers_us[n - 1] > Max(used_us(watch, track), group->watched_us);
}

static bool
judge_abandoned(LeakWatch *watch, LeakTrack *track)
{
	const LeakGroup *group = &watch->groups[track->group];
	int			newer = Max(NEWER_MIN, NEWER_FACTOR * group->idle);

	if (!lies_lost(watch, track) || sessions_alive(watch, group, track) <= track->sessions_then ||
		!has_newer(watch, track, newer))
		return false;
	while (has_newer(watch, track, newer + 1))
		newer++;
	leak_suspect(watch, track, LEAK_ABANDONED);
	track->evidence.others = newer;
	return true;
}

/* Is there a pause behind the n newest ones, longer than those between them? */
static bool
pause_before(const LeakGroup *group, int n, uint64 threshold_us)
{
	const uint64 *starts = group->forgotten_us;

	return n >= PACE_MIN &&
		starts[n - 1] - starts[n] > Max(PAUSE_FACTOR * (starts[0] - starts[n - 1]) / (n - 1), 2 * threshold_us);
}

/*
 * Finds those that were opened one after another and forgotten, as far as that
 * was seen, and how many of them count: of those opened on one occasion few do,
 * because a pool may fill its reserve all at once.
 */
static void
group_grow(const LeakWatch *watch, LeakGroup *group, uint64 threshold_us)
{
	const uint64 *starts = group->forgotten_us;
	uint64		occasion_us = PG_UINT64_MAX;
	int			on_occasion = 0;
	int			n;

	group->growth = 0;
	for (n = 0; n < group->forgotten && starts[n] > group->watched_us; n++)
	{
		if (n > 0 && pause_before(group, n, threshold_us))
			break;
		if (occasion_us - starts[n] >= threshold_us / OCCASIONS)
		{
			occasion_us = starts[n];
			on_occasion = 0;
		}
		group->growth += on_occasion++ < OCCASION_MAX;
	}
	group->grown = n;
}

/* Returns how many such sessions are a growth on a server with so many slots. */
int
leak_growth_min(int nslots)
{
	return Min(Max(nslots / GROWTH_PART, GROWTH_MIN), GROWTH_MAX);
}

/* Returns how far apart sessions must be opened for each to count, in milliseconds. */
int
leak_growth_spacing_ms(int threshold_ms)
{
	return threshold_ms / OCCASIONS + 1;
}

static bool
judge_growth(LeakWatch *watch, LeakTrack *track)
{
	LeakGroup  *group = &watch->groups[track->group];

	if (group->forgotten < watch->growth_min || !lies_idle(watch, track) || !is_forgotten(watch, track))
		return false;
	if (group->forgotten_us == NULL)
	{
		group->forgotten_us = starts_sort(watch, group, is_forgotten, &group->forgotten);
		group_grow(watch, group, threshold_us(track));
	}
	if (group->growth < watch->growth_min || track->started_us < group->forgotten_us[group->grown - 1])
		return false;
	leak_suspect(watch, track, LEAK_GROWTH);
	track->evidence.others = group->grown;
	track->evidence.span_ms = (int) ((group->forgotten_us[0] - group->forgotten_us[group->grown - 1]) / 1000);
	return true;
}

static void
track_judge(LeakWatch *watch, LeakTrack *track)
{
	if ((track->rule == LEAK_GROWTH && !is_forgotten(watch, track)) ||
		(track->rule == LEAK_ABANDONED && !lies_lost(watch, track)))
		leak_clear(watch, track, true);
	if (track->rule != LEAK_NONE)
		return;
	if (track->state == SLOT_IDLE_IN_TRANSACTION && held_too_long(watch, track))
		leak_suspect(watch, track, LEAK_IDLE_IN_TRANSACTION);
	else if (track->client_gone && track->state == SLOT_ACTIVE && held_too_long(watch, track))
		leak_suspect(watch, track, LEAK_DEAD_CLIENT);
	else if (!judge_abandoned(watch, track) && !judge_growth(watch, track) && track->counted != LEAK_NONE)
		leak_clear(watch, track, true); /* a watcher before this one suspected it */
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
		LeakGroup  *group = &watch->groups[track->group];

		if (track->fresh || track->moved || track->state != SLOT_IDLE)
			track->sessions_then = sessions_at_use(watch, track);
		if (group->was_idle_us != NEVER_US)
			mark_needless(watch, group);
	}
	foreach_track(watch, i)
		track_judge(watch, &watch->tracks[i]);
}

/*
 * A new watcher takes over what the one before it saw, but not what that one
 * suspected: it will find the same, if it is still so.
 */
void
leak_forget(LeakWatch *watch)
{
	foreach_track(watch, i)
	{
		watch->tracks[i].rule = LEAK_NONE;
	}
	watch->taken = 0;
	for (int i = 0; i < watch->ngroups; i++)
		watch->taken += watch->groups[i].taken;
}

/*
 * leak.c
 *		The leak rules: which sessions will not be given back.
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
 *		a reserve that is not needed, shrink slowly after a burst, are drained
 *		when an instance is replaced, and many of them may share one service.
 *		So there must be more sessions than when this one was used last; and
 *		three newer ones, kept in use, or twice as many as there are idle ones
 *		like it.
 *		Of these none counts that was opened while another one lay idle that was
 *		used later: a service that opens although it has one does so for other reasons.
 *
 * growth
 *		Its service opens sessions on one occasion after the other, uses each once
 *		and never comes back to them.
 *
 * dead client
 *		Its client has gone, and it has not noticed, because it runs a statement.
 *
 * Abandoned and growth are relative to what the service has shown of itself: one that
 * lies idle may be suspected only when that has lasted twice as long as one ever
 * lay idle and was used again (or, for growth, was closed).  Only time counts in
 * which the service was active, so a night does not.
 *
 * A suspicion ends when the session is used again, when its service shows that it
 * comes back after so long, or when it ends.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* At least so many newer ones speak against a session, and so many for each that lies idle like it. */
#define NEWER_MIN		3
#define NEWER_FACTOR	2

/* Of those none counts that was busy at more of the observations: it does a batch. */
#define BUSY_PERCENT	80

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

/*
 * One that was used later than in this part of a threshold from its start, which is
 * some seconds at least because logins may take long, or more often, was of a pool.
 */
#define EARLY_PART		4
#define EARLY_US		(2 * 1000 * 1000)
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

/* Of more new sessions in one observation it is not known which came first. */
#define FRESH_MAX		64

const char *const leak_rule_names[LEAK_RULES] = {LEAK_RULE_LIST(LIST_WORD)};

static uint64
threshold_us(const LeakSession *session)
{
	return (uint64) session->threshold_ms * 1000;
}

static bool
held_too_long(const LeakWatch *watch, const LeakSession *session)
{
	return leak_held_us(session, watch->observed_us) > threshold_us(session);
}

/* Idle for longer than the threshold, and not on purpose. */
static bool
lies_idle(const LeakWatch *watch, const LeakSession *session)
{
	return session->state == SLOT_IDLE && !session->has_idle_reason && held_too_long(watch, session);
}

/*
 * Idle for so long that it may be one of several that a burst or an instance left
 * behind.  A session that is suspected already is none of those.
 */
static bool
lies_like_others(const LeakWatch *watch, const LeakSession *session)
{
	return session->state == SLOT_IDLE && !session->has_idle_reason && session->rule == LEAK_NONE &&
		leak_held_us(session, watch->observed_us) > threshold_us(session) / 2;
}

/* And for longer than its service has ever come back to one. */
static bool
lies_lost(const LeakWatch *watch, const LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];

	return lies_idle(watch, session) && leak_rested_us(group, session) >= REST_FACTOR * group->reused_us;
}

/*
 * Not used for half of the threshold, and before that only soon after its start;
 * and for longer than its service has ever come back to one, or closed it.
 */
static bool
is_forgotten(const LeakWatch *watch, const LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];

	return session->state == SLOT_IDLE && !session->has_idle_reason &&
		leak_held_us(session, watch->observed_us) > threshold_us(session) / 2 &&
		session->since_us <= session->started_us + Max(threshold_us(session) / EARLY_PART, EARLY_US) && session->uses <= FORGOTTEN_USES &&
		leak_rested_us(group, session) >= REST_FACTOR * Max(group->reused_us, group->closed_us);
}

/* The last moment at which it was in use. */
static uint64
used_us(const LeakWatch *watch, const LeakSession *session)
{
	return session->state == SLOT_IDLE ? session->since_us : watch->observed_us;
}

/*
 * It has been used again and again, and lately; but not all the time, as batches
 * are.
 */
static bool
is_kept_in_use(const LeakWatch *watch, const LeakSession *session)
{
	return session->uses >= LEAK_USES_MIN && !session->needless &&
		session->busy_observations <= (int64) session->observations * BUSY_PERCENT / 100 &&
		watch->observed_us <= used_us(watch, session) + 2 * threshold_us(session);
}

/* Sessions of the group, without those that it has forgotten or lost; but with this one. */
static int
sessions_alive(const LeakWatch *watch, const LeakGroup *group, const LeakSession *session)
{
	return group->sessions - group->forgotten - group->lost +
		(is_forgotten(watch, session) || session->rule == LEAK_ABANDONED);
}

static void
leak_suspect(LeakWatch *watch, LeakSession *session, LeakRule rule)
{
	/* A new watcher may find by another rule what is counted already. */
	if (session->counted == LEAK_NONE)
	{
		watch->counts[rule].found++;
		session->counted = rule;
	}
	session->rule = rule;
	session->suspected_us = watch->observed_us;
	session->evidence = (LeakEvidence) {
		.threshold_ms = session->threshold_ms,
		.sessions_then = session->sessions_then,
		.sessions_now = sessions_alive(watch, &watch->groups[session->group], session),
	};
}

/* How many of those there were when this one was used last. */
static int
sessions_at_use(const LeakWatch *watch, const LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];
	int			sessions = sessions_alive(watch, group, session);

	/*
	 * Of what was before the first observation nothing is known, and of many that
	 * came at once it would take long to know: so that is no evidence.
	 */
	if (watch->before_us == 0 || group->fresh > FRESH_MAX)
		return sessions;
	for (int i = group->first_fresh; i >= 0; i = watch->sessions[i].next_fresh)
		sessions -= watch->sessions[i].started_us > used_us(watch, session);
	return Max(sessions, 1);	/* it was there itself */
}

/*
 * Some session of the group was idle up to the observation before, and has been used
 * since.  Those that were opened in that time were not opened for want of one.
 */
static void
mark_needless(LeakWatch *watch, LeakGroup *group)
{
	uint64		from_us = group->was_idle_us + OPEN_US;

	if (from_us < watch->before_us && watch->sessions[group->newest].started_us > from_us)
		for (int i = group->first; i >= 0; i = watch->sessions[i].next)
		{
			LeakSession *session = &watch->sessions[i];

			session->needless |= session->started_us > from_us && session->started_us < watch->before_us;
		}
	group->was_idle_us = LEAK_NEVER_US;
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
 * how many there are; returns where.
 */
static int
starts_sort(LeakWatch *watch, const LeakGroup *group,
			bool (*is_one) (const LeakWatch *watch, const LeakSession *session), int *count)
{
	uint64	   *starts = watch->starts + watch->nstarts;
	int			n = 0;

	for (int i = group->first; i >= 0; i = watch->sessions[i].next)
		if (is_one(watch, &watch->sessions[i]))
			starts[n++] = watch->sessions[i].started_us;
	qsort(starts, n, sizeof(uint64), compare_descending);
	watch->nstarts += n;
	*count = n;
	return watch->nstarts - n;
}

/*
 * Are at least n of those that are kept in use newer than the last use of this
 * one?  What was before the watch began is no evidence.
 */
static bool
has_newer(LeakWatch *watch, const LeakSession *session, int n)
{
	LeakGroup  *group = &watch->groups[session->group];

	if (group->keepers < n)
		return false;
	if (group->keepers_at < 0)
		group->keepers_at = starts_sort(watch, group, is_kept_in_use, &group->keepers);
	return group->keepers >= n &&
		watch->starts[group->keepers_at + n - 1] > Max(used_us(watch, session), group->watched_us);
}

static bool
judge_abandoned(LeakWatch *watch, LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];
	int			newer = Max(NEWER_MIN, NEWER_FACTOR * group->idle);

	if (!lies_lost(watch, session) || sessions_alive(watch, group, session) <= session->sessions_then ||
		!has_newer(watch, session, newer))
		return false;
	while (has_newer(watch, session, newer + 1))
		newer++;
	leak_suspect(watch, session, LEAK_ABANDONED);
	session->evidence.others = newer;
	return true;
}

/* Is there a pause behind the n newest ones, longer than those between them? */
static bool
pause_before(const uint64 *starts, int n, uint64 threshold_us)
{
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
	const uint64 *starts = watch->starts + group->forgotten_at;
	uint64		occasion_us = PG_UINT64_MAX;
	int			on_occasion = 0;
	int			n;

	group->growth = 0;
	for (n = 0; n < group->forgotten && starts[n] > group->watched_us; n++)
	{
		if (n > 0 && pause_before(starts, n, threshold_us))
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
judge_growth(LeakWatch *watch, LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];
	const uint64 *starts;

	if (group->forgotten < watch->growth_min || !lies_idle(watch, session) || !is_forgotten(watch, session))
		return false;
	if (group->forgotten_at < 0)
	{
		group->forgotten_at = starts_sort(watch, group, is_forgotten, &group->forgotten);
		group_grow(watch, group, threshold_us(session));
	}
	starts = watch->starts + group->forgotten_at;
	if (group->growth < watch->growth_min || session->started_us < starts[group->grown - 1])
		return false;
	leak_suspect(watch, session, LEAK_GROWTH);
	session->evidence.others = group->grown;
	session->evidence.span_ms = (int) ((starts[0] - starts[group->grown - 1]) / 1000);
	return true;
}

static void
leak_session_judge(LeakWatch *watch, LeakSession *session)
{
	if ((session->rule == LEAK_GROWTH && !is_forgotten(watch, session)) ||
		(session->rule == LEAK_ABANDONED && !lies_lost(watch, session)))
		leak_clear(watch, session, true);
	if (session->rule != LEAK_NONE)
		return;
	if (session->state == SLOT_IDLE_IN_TRANSACTION && held_too_long(watch, session))
		leak_suspect(watch, session, LEAK_IDLE_IN_TRANSACTION);
	else if (session->client_gone && session->state == SLOT_ACTIVE && held_too_long(watch, session))
		leak_suspect(watch, session, LEAK_DEAD_CLIENT);
	else if (!judge_abandoned(watch, session) && !judge_growth(watch, session) && session->counted != LEAK_NONE)
		leak_clear(watch, session, true);	/* a watcher before this one suspected it */
}

/* What the session says of its group. */
static void
group_count(LeakWatch *watch, const LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];
	bool		forgotten = is_forgotten(watch, session);

	group->idle += lies_like_others(watch, session);
	group->forgotten += forgotten;
	group->lost += session->rule == LEAK_ABANDONED && !forgotten;
	group->keepers += is_kept_in_use(watch, session);
}

/* Ends an observation: applies the rules to what was noted. */
void
leak_judge(LeakWatch *watch)
{
	foreach_leak_session(watch, i)
	{
		group_count(watch, &watch->sessions[i]);
	}
	foreach_leak_session(watch, i)
	{
		LeakSession *session = &watch->sessions[i];
		LeakGroup  *group = &watch->groups[session->group];

		if (session->fresh || session->moved || session->state != SLOT_IDLE)
			session->sessions_then = sessions_at_use(watch, session);
		if (group->was_idle_us != LEAK_NEVER_US)
			mark_needless(watch, group);
	}
	foreach_leak_session(watch, i)
		leak_session_judge(watch, &watch->sessions[i]);
}

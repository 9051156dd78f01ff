/*
 * leak.c
 *		Judges sessions by the leak rules: what all rules share.
 *
 * Each rule is about a session that has been held for longer than its threshold;
 * it has a file, see LEAK_RULE_LIST.  Abandoned and growth are relative to what the
 * service has shown of itself: a session that lies idle may be suspected only when that
 * has lasted twice as long as one ever lay idle and was used again (or, for
 * growth, was closed).  Only time counts in which the service was active, so a
 * night does not.
 *
 * A suspicion ends when the session is used again, when its service shows that it
 * comes back after so long, or when it ends.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* A session that was busy at more of the observations than that does a batch. */
#define BUSY_PERCENT	80

/*
 * One that was used later than in this part of a threshold from its start, which is
 * some seconds at least because logins may take long, or more often, was of a pool.
 */
#define EARLY_PART		4
#define EARLY_US		(2 * 1000 * 1000)
#define FORGOTTEN_USES	10

/*
 * A pool that lacks a connection decides so a little before its new session
 * starts; what comes back in between is no sign that it had one.
 */
#define OPEN_US			(50 * 1000)

/* Of more new sessions in one observation it is not known which came first. */
#define FRESH_MAX		64

/*
 * Time alone changes what is said of thousands one after another.  A service is judged for that so
 * much later for each of its sessions: half a second beside ten thousand, and no time beside a few.
 */
#define TOGETHER_US		50

#define LEAK_RULE_ADDRESS(member, row)	[member] = &leak_rule_##row,

const LeakRuleType *const leak_rules[LEAK_RULES] = {LEAK_RULE_LIST(LEAK_RULE_ADDRESS)};
const char *const leak_certainty_names[LEAK_CERTAINTIES] = {LEAK_CERTAINTY_LIST(LIST_WORD)};

static uint64
threshold_us(const LeakSession *session)
{
	return (uint64) session->seen.threshold_ms * 1000;
}

/* Returns whether the session is in its state for longer than the threshold. */
bool
leak_held_too_long(const LeakWatch *watch, const LeakSession *session)
{
	return leak_held_us(session, watch->observed_us) > threshold_us(session);
}

/* Idle for longer than that, and not on purpose. */
static bool
lies_idle_for(const LeakWatch *watch, const LeakSession *session, uint64 us)
{
	return session->seen.state == SLOT_IDLE && !session->seen.has_idle_reason &&
		leak_held_us(session, watch->observed_us) > us;
}

/* Returns whether it is idle for longer than the threshold, and not on purpose. */
bool
leak_lies_idle(const LeakWatch *watch, const LeakSession *session)
{
	return lies_idle_for(watch, session, threshold_us(session));
}

/* Returns whether it is idle and was used soon after its start only. */
bool
leak_used_once(const LeakSession *session)
{
	return session->seen.state == SLOT_IDLE &&
		session->since_us <= session->started_us + Max(threshold_us(session) / EARLY_PART, EARLY_US) &&
		session->uses <= FORGOTTEN_USES;
}

/*
 * Returns whether it was not used for half of the threshold, and before that only soon
 * after its start; and for longer than its service has ever come back to one, or
 * closed it.
 */
bool
leak_is_forgotten(const LeakWatch *watch, const LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];

	return lies_idle_for(watch, session, threshold_us(session) / 2) && leak_used_once(session) &&
		leak_has_rested(group, session, Max(group->reused_us, group->closed_us));
}

/* Returns the last moment at which it was in use. */
uint64
leak_used_us(const LeakWatch *watch, const LeakSession *session)
{
	return session->seen.state == SLOT_IDLE ? session->since_us : watch->observed_us;
}

/* Is it used all the time, as batches are? */
static bool
is_busy(const LeakSession *session)
{
	return session->busy_observations > (int64) session->observations * BUSY_PERCENT / 100;
}

/* Returns whether it has been used again and again, and lately; but not all the time. */
bool
leak_is_in_use(const LeakWatch *watch, const LeakSession *session)
{
	return session->uses >= LEAK_USES_MIN && !is_busy(session) &&
		watch->observed_us <= leak_used_us(watch, session) + LEAK_IN_USE_FACTOR * threshold_us(session);
}

/* Returns whether it is in use so, and was opened for want of a session. */
bool
leak_is_kept_in_use(const LeakWatch *watch, const LeakSession *session)
{
	return leak_is_in_use(watch, session) && !session->needless;
}

/* Is it suspected by a rule that says that its service has lost it? */
static bool
is_lost(const LeakSession *session)
{
	return session->rule != LEAK_NONE && leak_rules[session->rule]->lost;
}

/* Returns the sessions of the group, without those that it has forgotten or lost; but with this one. */
int
leak_sessions_alive(const LeakWatch *watch, const LeakGroup *group, const LeakSession *session)
{
	return group->sessions - group->forgotten - group->lost + (leak_is_forgotten(watch, session) || is_lost(session));
}

/* Returns how certain it is that the session is a leak, which is suspected. */
LeakCertainty
leak_certainty(const LeakSession *session)
{
	const LeakRuleType *rule = leak_rules[session->rule];

	return rule->failed_is_certain && session->seen.aborted ? LEAK_CERTAIN : rule->certainty;
}

/* Writes why the session is suspected, which it is, in LEAK_EVIDENCE_LEN bytes: a sentence with the numbers. */
void
leak_evidence(const LeakSession *session, uint64 now_us, char *text)
{
	leak_rules[session->rule]->evidence(session, leak_held_us(session, now_us) / 1e6, text);
}

/*
 * Writes, in LEAK_NOTE_LEN bytes, that a setting of so many milliseconds, 0 for
 * none, ends such sessions before the rule is broken; false if it does not.
 */
bool
leak_limit_note(const char *setting, int limit_ms, int threshold_ms, char *text)
{
	if (limit_ms == 0 || limit_ms > threshold_ms)
		return false;
	snprintf(text, LEAK_NOTE_LEN, "can never fire: %s (%d ms) comes before pool_exhaust.leak_threshold (%d ms)",
			 setting, limit_ms, threshold_ms);
	return true;
}

/* Writes, in LEAK_NOTE_LEN bytes, what keeps the rule from firing; false if nothing does. */
bool
leak_rule_note(LeakRule rule, const LeakLimits *limits, int threshold_ms, char *text)
{
	if (limits->blind)
	{
		strlcpy(text, "can never fire: track_activities is off, so it is not known what sessions do", LEAK_NOTE_LEN);
		return true;
	}
	if (leak_rules[rule]->note(limits, threshold_ms, text))
		return true;
	snprintf(text, LEAK_NOTE_LEN, "cannot fire for %d sessions: track_activities is off there", limits->blind_sessions);
	return limits->blind_sessions > 0;
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
	session->evidence.threshold_ms = session->seen.threshold_ms;
	session->evidence.sessions_then = session->sessions_then;
	session->evidence.sessions_now = leak_sessions_alive(watch, &watch->groups[session->group], session);
	session->rule = rule;
	session->suspected_us = watch->observed_us;
}

/* How many there were when this one was used last, of which there are so many now. */
static int
sessions_at_use(const LeakWatch *watch, const LeakSession *session, int sessions)
{
	const LeakGroup *group = &watch->groups[session->group];

	/*
	 * Of what was before the first observation nothing is known, and of many that
	 * came at once it would take long to know: so that is no evidence.
	 */
	if (watch->before_us == 0 || watch->late || group->fresh > FRESH_MAX)
		return sessions;
	for (int i = group->first_fresh; i >= 0; i = watch->sessions[i].next_fresh)
		sessions -= watch->sessions[i].started_us > leak_used_us(watch, session);
	return Max(sessions, 1);	/* it was there itself */
}

/* Notes what there was when it was used last. */
static void
note_use(const LeakWatch *watch, LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];

	session->sessions_then = sessions_at_use(watch, session, leak_sessions_alive(watch, group, session));
	session->all_then = sessions_at_use(watch, session, group->sessions);
	session->outlived = false;
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
 * Puts down in watch->starts when those sessions of the group were opened, the newest
 * first, and how many there are in "count"; returns where.
 */
int
leak_starts_sort(LeakWatch *watch, const LeakGroup *group,
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

/* Is the rule one by which sessions of that service are judged? */
static bool
rule_applies(const LeakWatch *watch, const LeakSession *session, const LeakRuleType *rule)
{
	return !rule->by_service || !watch->groups[session->group].names_borrowers;
}

/* Does the session stay suspected by that rule, not used since? */
static bool
rule_lasts(const LeakWatch *watch, const LeakSession *session, const LeakRuleType *rule)
{
	return rule_applies(watch, session, rule) && (rule->lasts == NULL || rule->lasts(watch, session));
}

static void
leak_session_judge(LeakWatch *watch, LeakSession *session)
{
	if (session->rule != LEAK_NONE && !rule_lasts(watch, session, leak_rules[session->rule]))
		leak_clear(watch, session, true);
	if (session->rule != LEAK_NONE)
		return;
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
		if (rule_applies(watch, session, leak_rules[rule]) && leak_rules[rule]->judge(watch, session))
		{
			leak_suspect(watch, session, rule);
			return;
		}
	if (session->counted != LEAK_NONE)
		leak_clear(watch, session, true);	/* a watcher before this one suspected it */
}

/* What the session says of its group. */
static void
group_count(LeakWatch *watch, const LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];
	bool		rests = lies_idle_for(watch, session, threshold_us(session) / 2);
	bool		forgotten = rests && leak_is_forgotten(watch, session);
	bool		in_use = leak_is_in_use(watch, session);

	/* One of several that a burst or an instance left behind; what is suspected already is none of those. */
	group->idle += rests && session->rule == LEAK_NONE;
	group->forgotten += forgotten;
	group->lost += is_lost(session) && !forgotten;
	group->keepers += in_use && !session->needless;
	group->working += in_use;
	group->left += rests && leak_is_left(watch, session);
}

/*
 * Returns from when on time alone may change how the session, which is idle, or another one of its
 * group by what that says, is judged; the moments after that are found then.
 */
static uint64
changes_us(const LeakWatch *watch, const LeakSession *session)
{
	uint64		threshold = threshold_us(session);
	uint64		held = leak_held_us(session, watch->observed_us);
	uint64		ages[] = {threshold / 2, threshold, LEAK_IN_USE_FACTOR * threshold, LEAK_DRAIN_FACTOR * threshold};
	int			nages = session->uses >= LEAK_USES_MIN ? lengthof(ages) : 2;	/* else it is neither in use nor left */

	if (is_busy(session) && held <= LEAK_IN_USE_FACTOR * threshold)
		return watch->observed_us;
	for (int i = 0; i < nages; i++)
		if (held <= ages[i])
			return session->since_us + ages[i];
	return LEAK_NEVER_US;
}

/* What may change then is judged with what changes soon after. */
static void
wake_together(LeakGroup *group, uint64 at_us)
{
	leak_group_wake_at(group, at_us + group->sessions * TOGETHER_US);
}

/* Ends an observation: applies the rules to what was noted. */
void
leak_judge(LeakWatch *watch)
{
	leak_groups_wake(watch);
	foreach_leak_session(watch, i)
	{
		group_count(watch, &watch->sessions[i]);
	}
	foreach_leak_session(watch, i)
	{
		LeakSession *session = &watch->sessions[i];
		LeakGroup  *group = &watch->groups[session->group];

		if (session->fresh || session->moved || session->seen.state != SLOT_IDLE)
			note_use(watch, session);
		else if (group->oldest_used_us < session->since_us)
			session->outlived |= leak_held_us(session, watch->observed_us) > threshold_us(session) / 2;
		if (group->was_idle_us != LEAK_NEVER_US)
			mark_needless(watch, group);
	}
	foreach_leak_session(watch, i)
	{
		LeakSession *session = &watch->sessions[i];
		LeakGroup  *group = &watch->groups[session->group];
		LeakRule	rule_before = session->rule;

		leak_session_judge(watch, session);
		if (session->rule != rule_before)
			wake_together(group, watch->observed_us);
		else if (group->wake_us > watch->observed_us)
			wake_together(group, changes_us(watch, session));
	}
}

/*
 * abandoned.c
 *		Leak rule "abandoned": a session is idle and was not used again, while its
 *		service opened further sessions and goes on using those.
 *
 * A pool that still had this one would have used it.  That is easily said.  Pools
 * replace what is too old, keep a reserve that is not needed, shrink slowly after a
 * burst, are drained when an instance is replaced, and many of them may share one
 * service.  So there must be more sessions than when this one was used last; and
 * three newer ones, kept in use, or twice as many as there are idle ones like it.
 * Of these none counts that was opened while another one lay idle that was used
 * later: a service that opens although it has one does so for other reasons.  And
 * some that was there when this one was used last must go on: else this is what is left of
 * an instance, or a job beside a pool that came later.
 *
 * A pool under a steady load opens only one for each that it loses: see replaced.c.  And a
 * client that vanished, and is up again, has as many as before: see vanished.c.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* At least so many newer ones speak against a session, and so many for each that lies idle like it. */
#define NEWER_MIN		3
#define NEWER_FACTOR	2

/* Does it lie idle, and for longer than its service has ever come back to one? */
static bool
lies_lost(const LeakWatch *watch, const LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];

	return leak_lies_idle(watch, session) && leak_has_rested(group, session, group->reused_us);
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
		group->keepers_at = leak_starts_sort(watch, group, leak_is_kept_in_use, &group->keepers);
	return group->keepers >= n &&
		watch->starts[group->keepers_at + n - 1] > Max(leak_used_us(watch, session), group->watched_us);
}

static bool
abandoned_judge(LeakWatch *watch, LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];
	int			newer = Max(NEWER_MIN, NEWER_FACTOR * group->idle);

	if (!lies_lost(watch, session))
		return false;
	if (leak_was_replaced(watch, session))
	{
		session->evidence.loss = LEAK_REPLACED;
		session->evidence.others = group->replaced;
		session->evidence.span_ms = (int) ((group->replaced_until_us - group->replaced_since_us) / 1000);
		return true;
	}
	if (leak_has_vanished(watch, session))
	{
		session->evidence.loss = LEAK_VANISHED;
		session->evidence.others = group->vanished;
		session->evidence.span_ms = (int) ((group->resumed_us - group->paused_us) / 1000);
		return true;
	}
	if (!(session->outlived || session->seen.of_one_pool) ||
		leak_sessions_alive(watch, group, session) <= session->sessions_then ||
		!has_newer(watch, session, newer))
		return false;
	session->evidence.loss = LEAK_LEFT_BEHIND;
	while (has_newer(watch, session, newer + 1))
		newer++;
	session->evidence.others = newer;
	return true;
}

static void
abandoned_evidence(const LeakSession *session, double held_s, char *text)
{
	const LeakEvidence *e = &session->evidence;

	switch (e->loss)
	{
		case LEAK_LEFT_BEHIND:
			snprintf(text, LEAK_EVIDENCE_LEN,
					 "idle for %.1f s; its service had %d sessions when it was used last and has %d now, and keeps %d newer ones in use",
					 held_s, e->sessions_then, e->sessions_now, e->others);
			break;
		case LEAK_REPLACED:
			snprintf(text, LEAK_EVIDENCE_LEN,
					 "idle for %.1f s; one of %d that its service used, lost one after another in %.1f s, and replaced by new ones",
					 held_s, e->others, e->span_ms / 1000.0);
			break;
		case LEAK_VANISHED:
			snprintf(text, LEAK_EVIDENCE_LEN,
					 "idle for %.1f s; one of %d that its service used until it did nothing for %.1f s; then the same client host opened others, and uses those",
					 held_s, e->others, e->span_ms / 1000.0);
			break;
	}
}

static bool
abandoned_note(const LeakLimits *limits, int threshold_ms, char *text)
{
	if (leak_limit_note("idle_session_timeout", limits->idle_ms, threshold_ms, text))
		return true;
	snprintf(text, LEAK_NOTE_LEN,
			 "cannot fire for %d services: their pools close sessions after %.1f s at the most, and pool_exhaust.leak_threshold is %.1f s",
			 limits->short_services, limits->short_life_ms / 1000.0, threshold_ms / 1000.0);
	return limits->short_services > 0;
}

const LeakRuleType leak_rule_abandoned = {
	.name = "abandoned",
	.state = SLOT_IDLE,
	.certainty = LEAK_POSSIBLE,
	.judge = abandoned_judge,
	.by_service = true,
	.lasts = lies_lost,
	.lost = true,
	.evidence = abandoned_evidence,
	.note = abandoned_note,
};

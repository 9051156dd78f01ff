/*
 * growth.c
 *		Leak rule "growth": the service of a session opens sessions on one occasion
 *		after the other, uses each once and never comes back to them.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/*
 * So many sessions are a growth; on a small server a sixth of its slots.
 * (Preforked workers connect when the first request reaches them; of a dozen
 * first requests none may reach the same one of two dozen workers twice.)
 */
#define GROWTH_MIN		5
#define GROWTH_MAX		16
#define GROWTH_PART		6

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
 * People open consoles and notebooks one after another, too, and come back to them.  They are slower
 * than programs: fewer than two in a threshold wait until the first of them is as old as that.
 */
#define FAST_IN_THRESHOLD	2
#define SLOW_AGE		24

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

/* Were those opened so slowly that they could be people's, and so lately that these may come back? */
static bool
may_be_people(const LeakWatch *watch, LeakGroup *group, uint64 threshold_us)
{
	uint64		newest_us = watch->starts[group->forgotten_at];
	uint64		oldest_us = watch->starts[group->forgotten_at + group->grown - 1];
	uint64		until_us = oldest_us + SLOW_AGE * threshold_us;

	if ((newest_us - oldest_us) * FAST_IN_THRESHOLD <= (group->grown - 1) * threshold_us || watch->observed_us >= until_us)
		return false;
	leak_group_wake_at(group, until_us);
	return true;
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
growth_judge(LeakWatch *watch, LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];
	const uint64 *starts;

	if (group->forgotten < watch->growth_min || !leak_lies_idle(watch, session) || !leak_is_forgotten(watch, session))
		return false;
	if (group->forgotten_at < 0)
	{
		group->forgotten_at = leak_starts_sort(watch, group, leak_is_forgotten, &group->forgotten);
		group_grow(watch, group, (uint64) session->seen.threshold_ms * 1000);
	}
	starts = watch->starts + group->forgotten_at;
	if (group->growth < watch->growth_min || session->started_us < starts[group->grown - 1] ||
		may_be_people(watch, group, (uint64) session->seen.threshold_ms * 1000))
		return false;
	session->evidence.others = group->grown;
	session->evidence.span_ms = (int) ((starts[0] - starts[group->grown - 1]) / 1000);
	return true;
}

static void
growth_evidence(const LeakSession *session, double held_s, char *text)
{
	snprintf(text, LEAK_EVIDENCE_LEN,
			 "idle for %.1f s; one of %d that its service opened one after another in %.1f s, came back to none of them",
			 held_s, session->evidence.others, session->evidence.span_ms / 1000.0);
}

static bool
growth_note(const LeakLimits *limits, int threshold_ms, char *text)
{
	return leak_limit_note("idle_session_timeout", limits->idle_ms, threshold_ms, text);
}

const LeakRuleType leak_rule_growth = {
	.name = "growth",
	.state = SLOT_IDLE,
	.certainty = LEAK_POSSIBLE,
	.judge = growth_judge,
	.by_service = true,
	.lasts = leak_is_forgotten,
	.evidence = growth_evidence,
	.note = growth_note,
};

/*
 * replaced.c
 *		Sessions that a service lost one after the other, and replaced.
 *
 * A pool that has an idle connection opens none.  One that loses its connections, under
 * a load that stays the same, opens one for each: so what lies idle becomes more and
 * more, in steps, beside as many at work as ever.  Reloads that forget the pool before
 * do the same with a pool at a time.
 *
 * So: sessions that worked, as those of a pool do, and were then left, on at least
 * LOSSES_MIN occasions, and between two of those the service opened some; and since the first
 * it has come to as many sessions more as it lost.  Where several pools share a
 * service each opens although others have idle ones, which are used later; that shows.
 */
#include "postgres.h"

#include "base/leak/leak.h"

/* Losses on fewer occasions may be instances that are drained, or kept in case of a rollback. */
#define LOSSES_MIN		5

/* What was left within an eighth of the threshold was left on one occasion. */
#define OCCASIONS		8

/* A session of a pool was used so often, and once in a quarter of the threshold. */
#define WORKED_USES		5
#define WORKED_PART		4

/* Sessions at work that show that the pool goes on. */
#define WORKING_MIN		2

/* Of the steps between the occasions, one in so many may have openings of a reserve alone. */
#define NEEDLESS_PART	2

static uint64
threshold_us(const LeakSession *session)
{
	return (uint64) session->seen.threshold_ms * 1000;
}

/* Returns whether it worked as a session of a pool does, and was then left. */
bool
leak_is_left(const LeakWatch *watch, const LeakSession *session)
{
	const LeakGroup *group = &watch->groups[session->group];

	return leak_lies_idle(watch, session) && session->uses >= WORKED_USES && !leak_used_once(session) &&
		session->since_us - session->started_us <= session->uses * (threshold_us(session) / WORKED_PART) &&
		leak_has_rested(group, session, Max(group->reused_us, group->closed_us));
}

static int
compare_losses(const void *a, const void *b)
{
	uint64		x = ((const LeftSession *) a)->left_us;
	uint64		y = ((const LeftSession *) b)->left_us;

	return x < y ? -1 : x > y;
}

/* Puts down what was left, what was left first first; returns how many. */
static int
losses_sort(LeakWatch *watch, const LeakGroup *group)
{
	int			n = 0;

	for (int i = group->first; i >= 0; i = watch->sessions[i].next)
	{
		const LeakSession *session = &watch->sessions[i];

		if (leak_is_left(watch, session))
			watch->losses[n++] = (LeftSession) {session->since_us, session->all_then};
	}
	qsort(watch->losses, n, sizeof(LeftSession), compare_losses);
	return n;
}

static int
compare_openings(const void *a, const void *b)
{
	uint64		x = ((const LeakOpening *) a)->at_us;
	uint64		y = ((const LeakOpening *) b)->at_us;

	return x < y ? -1 : x > y;
}

/* Puts down which of the group were opened since then, the oldest first; returns how many. */
static int
openings_sort(LeakWatch *watch, const LeakGroup *group, uint64 since_us)
{
	int			n = 0;

	for (int i = group->first; i >= 0; i = watch->sessions[i].next)
	{
		const LeakSession *session = &watch->sessions[i];

		if (session->started_us > since_us)
			watch->openings[n++] = (LeakOpening) {session->started_us, session->needless};
	}
	qsort(watch->openings, n, sizeof(LeakOpening), compare_openings);
	return n;
}

/*
 * Numbers the occasions of the losses: another one begins when some session was opened
 * since the loss before.  Counts for each how many of them, up to it, followed openings that were
 * not all needless.
 */
static void
occasions_number(LeakWatch *watch, int nlosses, int nopenings, uint64 apart_us)
{
	LeftSession *losses = watch->losses;
	int			next = 0;

	for (int i = 0; i < nlosses; i++)
	{
		bool		opened = false;
		bool		for_want = false;

		losses[i].occasion = i == 0 ? 0 : losses[i - 1].occasion;
		losses[i].for_want = i == 0 ? 0 : losses[i - 1].for_want;
		for (; i > 0 && next < nopenings && watch->openings[next].at_us < losses[i].left_us; next++)
		{
			bool		since = watch->openings[next].at_us > losses[i - 1].left_us;

			opened |= since;
			for_want |= since && !watch->openings[next].needless;
		}
		if (opened && losses[i].left_us >= losses[i - 1].left_us + apart_us)
		{
			losses[i].occasion++;
			losses[i].for_want += for_want;
		}
	}
}

/* Do the losses from number "first" on prove what is to be proved?  From "second" on they are of later occasions. */
static bool
losses_speak(const LeakWatch *watch, const LeakGroup *group, int first, int second, int nlosses, uint64 threshold_us)
{
	const LeftSession *losses = watch->losses;
	const LeftSession *last = &losses[nlosses - 1];
	int			steps = last->occasion - losses[first].occasion;
	int			more = group->sessions - losses[first].all_then;
	int			lost = nlosses - first;

	return steps + 1 >= LOSSES_MIN && losses[first].left_us > group->watched_us &&
		watch->observed_us >= losses[first].left_us + LEAK_DRAIN_FACTOR * threshold_us &&
		last->for_want - losses[first].for_want >= steps - steps / NEEDLESS_PART &&
		more >= nlosses - second && more <= lost + lost / 2;
}

/* When the last one was opened for want of a session. */
static uint64
last_opening(const LeakWatch *watch, int nopenings)
{
	for (int i = nopenings - 1; i >= 0; i--)
		if (!watch->openings[i].needless)
			return watch->openings[i].at_us;
	return 0;
}

/* Finds since when the group has lost sessions one after the other, if it has. */
static void
group_find_losses(LeakWatch *watch, LeakGroup *group, uint64 threshold_us)
{
	int			nlosses = losses_sort(watch, group);
	int			nopenings = openings_sort(watch, group, watch->losses[0].left_us);

	group->replaced = 0;
	occasions_number(watch, nlosses, nopenings, threshold_us / OCCASIONS);
	for (int first = 0, second; first < nlosses; first = second)
	{
		for (second = first + 1; second < nlosses && watch->losses[second].occasion == watch->losses[first].occasion;)
			second++;
		if (!losses_speak(watch, group, first, second, nlosses, threshold_us))
			continue;
		group->replaced = nlosses - first;
		group->replaced_since_us = watch->losses[first].left_us;
		group->replaced_until_us = last_opening(watch, nopenings);
		return;
	}
}

/* Returns whether the session is one of those that its service lost one after the other, and replaced. */
bool
leak_was_replaced(LeakWatch *watch, LeakSession *session)
{
	LeakGroup  *group = &watch->groups[session->group];

	if (group->left < LOSSES_MIN || group->working < WORKING_MIN || !leak_is_left(watch, session))
		return false;
	if (group->replaced < 0)
		group_find_losses(watch, group, threshold_us(session));
	return group->replaced > 0 && session->since_us >= group->replaced_since_us &&
		session->since_us < group->replaced_until_us;
}

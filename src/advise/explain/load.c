/*
 * load.c
 *		Explanations by load: long statements, and services that have grown.
 */
#include "postgres.h"

#include "advise/explain/explain.h"

/* A statement that takes longer is slow where connections run out. */
#define SLOW_MS			1000

/* So many of them are worth a word. */
#define SLOW_MIN		3

/* ---------- Slow statements ---------- */

static bool
is_slow(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->pressed && session->slot.state == SLOT_ACTIVE && session->state_ms >= SLOW_MS;
}

static bool
judge_slow_statements(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	int64		sum = 0;

	if (crowd->n < SLOW_MIN)
		return false;
	foreach_session_of(facts, self, session)
		sum += session->state_ms;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s busy with statements that take long, the longest for %s", crowd_text(crowd),
								 seconds_text(crowd->longest->state_ms));
	finding->evidence = psprintf("They run for %s on average so far.", seconds_text(sum / crowd->n));
	finding->next_step = "SELECT pid, usename, now() - query_start AS running, left(query, 60) AS query FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' ORDER BY query_start LIMIT 10;";
	return true;
}

const Explanation explanation_slow_statements = {
	.name = "slow statements",
	.accounts_for = is_slow,
	.judge = judge_slow_statements,
};

/* ---------- A surge ---------- */

/* Returns by how many the slots in use rose in the last minute, or since the monitor watches if that is less. */
static int
growth_lately(const Facts *facts)
{
	for (int i = 0; i < FACTS_SLICES; i++)
		if (facts->slices[i].n > 0)
			return facts->pools[0].in_use - facts->slices[i].least.in_use;
	return 0;
}

static bool
is_of_surge(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->pressed && session->service != NULL && session->age_ms <= FACTS_SLICES * FACTS_SLICE_S * 1000 &&
		growth_lately(facts) >= facts_crowd(facts);
}

static bool
judge_surge(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n < facts_crowd(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("the slots in use rose by %d in the last minute: %s new", growth_lately(facts), crowd_text(crowd));
	finding->evidence = crowd->service != NULL
		? psprintf("%s has %d sessions, %d of them idle.", crowd->service->name, crowd->service->in_use, crowd->service->idle) : NULL;
	finding->next_step = "SELECT service, in_use, idle, peak_in_use, opened FROM pool_exhaust_services ORDER BY in_use DESC LIMIT 10;";
	return true;
}

const Explanation explanation_surge = {
	.name = "surge",
	.recorded = true,
	.accounts_for = is_of_surge,
	.judge = judge_surge,
};

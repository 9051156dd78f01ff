/*
 * logins.c
 *		Explanations by logins: those that are not completed, and those that come again and again.
 */
#include "postgres.h"

#include "postmaster/postmaster.h"

#include "advise/explain/explain.h"

/* A login that takes longer has stalled. */
#define STALLED_MS		2000

/* ---------- Logins that are not completed ---------- */

static bool
is_stalled(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->slot.state == SLOT_AUTHENTICATING && session->state_ms >= STALLED_MS;
}

static bool
judge_stalled_logins(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n < facts_crowd(facts))
		return false;
	/* Of a past moment they are those that are not counted as granted or refused, and some may have failed otherwise. */
	finding->confidence = facts->recorded == NULL ? CONFIDENCE_SURE : CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%d logins hold a slot and are not completed, the longest for %s", crowd->n,
								 seconds_text(crowd->longest->state_ms));
	finding->evidence = psprintf("A slot is taken before authentication; each login ends after authentication_timeout%s.",
								 facts->recorded == NULL ? psprintf(", %d s", AuthenticationTimeout) : "");
	finding->next_step = "SHOW authentication_timeout;";
	return true;
}

const Explanation explanation_stalled_logins = {
	.name = "stalled logins",
	.recorded = true,
	.accounts_for = is_stalled,
	.judge = judge_stalled_logins,
};

/* ---------- A storm ---------- */

/* Returns how many sessions have ended in the last slice of time, by what was opened and what is left of it. */
static int64
ended_lately(const Facts *facts)
{
	const TimelineSlice *before = &facts->slices[FACTS_SLICES - 2];
	const TimelineSlice *now = &facts->slices[FACTS_SLICES - 1];

	if (before->n == 0)
		return 0;
	return (int64) now->opened - (facts->pools[0].in_use - before->most.in_use);
}

/* Many sessions come and go, and logins are refused meanwhile, or will be. */
static bool
is_storm(const Facts *facts)
{
	const TimelineSlice *now = &facts->slices[FACTS_SLICES - 1];
	int64		many = Max(facts->census.capacity / 4, 3);

	return (pool_is_pressed(&facts->pools[0]) || (int64) now->refused >= many) &&
		(int64) now->opened >= many && ended_lately(facts) >= many;
}

static bool
is_of_storm(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->service != NULL && session->age_ms <= FACTS_SLICE_S * 1000 && is_storm(facts);
}

static bool
judge_reconnect_storm(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const TimelineSlice *now = &facts->slices[FACTS_SLICES - 1];

	if (!is_storm(facts))
		return false;
	finding->urgent = true;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("clients connect again and again: " UINT64_FORMAT " logins granted and " UINT64_FORMAT " refused in the last %d s",
								 now->opened, now->refused, FACTS_SLICE_S);
	finding->evidence = psprintf("%s%d sessions are younger than that; about " INT64_FORMAT " ended meanwhile.",
								 facts->recorded != NULL ? "At least " : "", crowd->n, ended_lately(facts));
	finding->next_step = "SELECT usename, application_name, client_addr, cause, refusals, last_at FROM pool_exhaust_refused_services ORDER BY last_at DESC LIMIT 10;";
	return true;
}

const Explanation explanation_reconnect_storm = {
	.name = "reconnect storm",
	.recorded = true,
	.accounts_for = is_of_storm,
	.judge = judge_reconnect_storm,
};

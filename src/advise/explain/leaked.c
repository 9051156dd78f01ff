/*
 * leaked.c
 *		Explanations by the leak rules: sessions that will not be released.
 */
#include "postgres.h"

#include "advise/explain/explain.h"

/* A full server does not wait for the threshold of the rule. */
#define IDLE_IN_TRANSACTION_MS	1000

static bool
is_suspected(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->watched != NULL && session->watched->rule == self->rule;
}

/* Returns which of its sessions is suspected for the longest state; NULL: none is. */
static const SessionFacts *
longest_suspect(const Explanation *self, const Facts *facts)
{
	const SessionFacts *longest = NULL;

	foreach_session_of(facts, self, session)
		if (is_suspected(self, facts, session) && (longest == NULL || session->state_ms > longest->state_ms))
			longest = session;
	return longest;
}

/* Returns what the leak rule has on that session, palloc'd. */
static char *
suspect_evidence(const Facts *facts, const SessionFacts *session)
{
	char		evidence[LEAK_EVIDENCE_LEN];

	leak_evidence(session->watched, facts->now_us, evidence);
	return psprintf("pid %d: %s.", session->slot.pid, evidence);
}

static bool
judge_suspects(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const SessionFacts *suspect = longest_suspect(self, facts);

	if (suspect == NULL)
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s %s, the longest for %s", crowd_text(crowd), self->what, seconds_text(crowd->longest->state_ms));
	finding->evidence = suspect_evidence(facts, suspect);
	finding->next_step = "SELECT * FROM pool_exhaust_heal(); -- shows what it would end, and ends nothing";
	return true;
}

/* ---------- Dead clients ---------- */

static bool
judge_dead_client(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (!judge_suspects(self, facts, crowd, finding))
		return false;
	finding->confidence = CONFIDENCE_SURE;
	finding->next_step = "SELECT pg_terminate_backend(pid) FROM pool_exhaust_leaks WHERE rule = 'dead client';";
	return true;
}

const Explanation explanation_dead_client = {
	.name = "dead client",
	.rule = LEAK_DEAD_CLIENT,
	.what = "running a statement for a client that is gone",
	.accounts_for = is_suspected,
	.judge = judge_dead_client,
};

/* ---------- Idle in transaction ---------- */

static bool
is_idle_in_transaction(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return is_suspected(self, facts, session) ||
		(session->pressed && session->slot.state == SLOT_IDLE_IN_TRANSACTION && session->state_ms >= IDLE_IN_TRANSACTION_MS);
}

/* A transaction that has failed is of no use to its client: it can only be rolled back. */
static bool
all_aborted(const Explanation *self, const Facts *facts)
{
	foreach_session_of(facts, self, session)
		if (!session->slot.aborted)
			return false;
	return true;
}

static bool
judge_idle_in_transaction(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (judge_suspects(self, facts, crowd, finding))
	{
		if (all_aborted(self, facts))
			finding->confidence = CONFIDENCE_SURE;
		return true;
	}
	if (crowd->n < facts_crowd(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s %s, the longest for %s", crowd_text(crowd), self->what, seconds_text(crowd->longest->state_ms));
	finding->evidence = "None of them for as long as pool_exhaust.leak_threshold yet.";
	finding->next_step = "SELECT pid, service, state, xact_ms FROM pool_exhaust_backends WHERE state LIKE 'idle in transaction%' ORDER BY xact_ms DESC;";
	return true;
}

const Explanation explanation_idle_in_transaction = {
	.name = "idle in transaction",
	.rule = LEAK_IDLE_IN_TRANSACTION,
	.what = "idle in transaction",
	.accounts_for = is_idle_in_transaction,
	.judge = judge_idle_in_transaction,
};

/* ---------- Connections that were never released ---------- */

const Explanation explanation_abandoned = {
	.name = "abandoned",
	.rule = LEAK_ABANDONED,
	.what = "abandoned by the pool that used it before",
	.accounts_for = is_suspected,
	.judge = judge_suspects,
};

const Explanation explanation_growth = {
	.name = "growth",
	.rule = LEAK_GROWTH,
	.what = "opened one after the other and never used again",
	.accounts_for = is_suspected,
	.judge = judge_suspects,
};

/*
 * leaked.c
 *		Explanations by the leak rules: sessions that will not be released.
 */
#include "postgres.h"

#include "advise/explain/explain.h"

/* A full server does not wait for the threshold of the rule. */
#define IDLE_IN_TRANSACTION_MS	1000

static const char *const heal_step = "SELECT * FROM pool_exhaust_heal(); -- shows what it would end, and ends nothing";

static bool
is_suspected(const SessionFacts *session, LeakRule rule)
{
	return session->watched != NULL && session->watched->rule == rule;
}

/* Returns the sentence of evidence of the leak rule on that session, palloc'd. */
static char *
suspect_evidence(const Facts *facts, const SessionFacts *session)
{
	char		evidence[LEAK_EVIDENCE_LEN];

	leak_evidence(session->watched, facts->now_us, evidence);
	return psprintf("pid %d: %s.", session->slot.pid, evidence);
}

static bool
judge_suspects(const Facts *facts, const Crowd *crowd, Finding *finding, Confidence confidence, const char *what)
{
	if (crowd->n == 0)
		return false;
	finding->confidence = confidence;
	finding->sentence = psprintf("%s %s, the longest for %s", crowd_text(crowd), what, seconds_text(crowd->longest->state_ms));
	finding->evidence = suspect_evidence(facts, crowd->longest);
	finding->next_step = heal_step;
	return true;
}

/* ---------- Dead clients ---------- */

static bool
of_dead_client(const Facts *facts, const SessionFacts *session)
{
	return is_suspected(session, LEAK_DEAD_CLIENT);
}

static bool
judge_dead_client(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (!judge_suspects(facts, crowd, finding, CONFIDENCE_SURE, "running a statement for a client that is gone"))
		return false;
	finding->next_step = "SELECT pg_terminate_backend(pid) FROM pool_exhaust_leaks WHERE rule = 'dead client';";
	return true;
}

const Explanation explanation_dead_client = {
	.name = "dead client",
	.accounts_for = of_dead_client,
	.judge = judge_dead_client,
};

/* ---------- Idle in transaction ---------- */

static bool
is_idle_in_transaction(const Facts *facts, const SessionFacts *session)
{
	return is_suspected(session, LEAK_IDLE_IN_TRANSACTION) ||
		(session->pressed && session->slot.state == SLOT_IDLE_IN_TRANSACTION && session->state_ms >= IDLE_IN_TRANSACTION_MS);
}

static bool
judge_idle_in_transaction(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	int			suspects = 0;
	int			aborted = 0;

	foreach_session_of(facts, &explanation_idle_in_transaction, session)
	{
		suspects += is_suspected(session, LEAK_IDLE_IN_TRANSACTION);
		aborted += session->slot.aborted;
	}
	if (suspects > 0)
		return judge_suspects(facts, crowd, finding, aborted == crowd->n ? CONFIDENCE_SURE : CONFIDENCE_LIKELY, "idle in transaction");
	if (crowd->n < facts_crowd(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s idle in transaction, the longest for %s", crowd_text(crowd), seconds_text(crowd->longest->state_ms));
	finding->evidence = "None of them for as long as pool_exhaust.leak_threshold yet.";
	finding->next_step = "SELECT pid, service, state, xact_ms FROM pool_exhaust_backends WHERE state LIKE 'idle in transaction%' ORDER BY xact_ms DESC;";
	return true;
}

const Explanation explanation_idle_in_transaction = {
	.name = "idle in transaction",
	.accounts_for = is_idle_in_transaction,
	.judge = judge_idle_in_transaction,
};

/* ---------- Connections that were never released ---------- */

static bool
is_abandoned(const Facts *facts, const SessionFacts *session)
{
	return is_suspected(session, LEAK_ABANDONED);
}

static bool
judge_abandoned(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	return judge_suspects(facts, crowd, finding, CONFIDENCE_LIKELY, "abandoned by the pool that used it before");
}

const Explanation explanation_abandoned = {
	.name = "abandoned",
	.accounts_for = is_abandoned,
	.judge = judge_abandoned,
};

static bool
is_growth(const Facts *facts, const SessionFacts *session)
{
	return is_suspected(session, LEAK_GROWTH);
}

static bool
judge_growth(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	return judge_suspects(facts, crowd, finding, CONFIDENCE_LIKELY, "opened one after the other and never used again");
}

const Explanation explanation_growth = {
	.name = "growth",
	.accounts_for = is_growth,
	.judge = judge_growth,
};

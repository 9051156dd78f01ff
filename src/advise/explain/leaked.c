/*
 * leaked.c
 *		Explanations by the leak rules: sessions that will not be released.
 */
#include "postgres.h"

#include "advise/explain/explain.h"

/* A full server does not wait for the threshold of the rule. */
#define PRESSED_MS		1000

static bool
is_suspected(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->rule == self->rule;
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

/* Returns what the leak rule has on that session, palloc'd; NULL: it is not known. */
static char *
evidence_text(const Facts *facts, const SessionFacts *session)
{
	char		evidence[LEAK_EVIDENCE_LEN];

	if (session->watched == NULL)
		return NULL;
	suspect_evidence(session->watched, facts->now_us, evidence);
	return psprintf("pid %d: %s.", session->slot.pid, evidence);
}

static bool
judge_suspects(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const SessionFacts *suspect = longest_suspect(self, facts);

	if (suspect == NULL)
		return false;
	finding->confidence = leak_rules[self->rule]->certainty == LEAK_CERTAIN ? CONFIDENCE_SURE : CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s %s%s", crowd_text(crowd), self->what, longest_text(crowd));
	finding->evidence = evidence_text(facts, suspect);
	finding->next_step = "SELECT * FROM pool_exhaust_heal(); -- shows what it would end, and ends nothing";
	return true;
}

/* In a pool with little left, sessions that are idle and that no rule suspects yet are worth a word if they are many. */
static bool
judge_crowd(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n < facts_crowd(facts))
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s %s%s", crowd_text(crowd), self->what, longest_text(crowd));
	finding->evidence = "None of them for as long as pool_exhaust.leak_threshold yet.";
	return true;
}

/* ---------- Dead clients ---------- */

static bool
judge_dead_client(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (!judge_suspects(self, facts, crowd, finding))
		return false;
	finding->next_step = "SELECT pg_terminate_backend(pid) FROM pool_exhaust_leaks WHERE rule = 'dead client';";
	return true;
}

const Explanation explanation_dead_client = {
	.name = "dead client",
	.recorded = true,
	.rule = LEAK_DEAD_CLIENT,
	.what = "running a statement for a client that is gone",
	.accounts_for = is_suspected,
	.judge = judge_dead_client,
};

/* ---------- Borrowed ---------- */

static bool
is_borrowed(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	bool		idle = session->slot.state == SLOT_IDLE_IN_TRANSACTION || (session->slot.state == SLOT_IDLE && !session->listens);

	return is_suspected(self, facts, session) ||
		(session->pressed && idle && session->state_ms >= PRESSED_MS && is_borrowed_at(&session->borrower, session->slot.state_since));
}

static int
compare_borrowers(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Returns which borrower has most of the sessions, and how many; NULL: none is to be shown. */
static const char *
most_frequent_borrower(const Explanation *self, const Facts *facts, int *sessions)
{
	const char **names = palloc(sizeof(char *) * facts->nsessions);
	const char *most = NULL;
	int			n = 0;

	foreach_session_of(facts, self, session)
		if (session->borrower.name[0] != '\0' && facts->source->may_see(session->slot.role))
			names[n++] = session->borrower.name;
	qsort(names, n, sizeof(char *), compare_borrowers);
	*sessions = 0;
	for (int i = 0, first = 0; i < n; i++)
	{
		if (strcmp(names[i], names[first]) != 0)
			first = i;
		if (i - first + 1 <= *sessions)
			continue;
		*sessions = i - first + 1;
		most = names[first];
	}
	return most;
}

static bool
judge_borrowed(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const SessionFacts *suspect = longest_suspect(self, facts);
	int			sessions;
	const char *borrower = most_frequent_borrower(self, facts, &sessions);

	if (suspect != NULL ? !judge_suspects(self, facts, crowd, finding) : !judge_crowd(self, facts, crowd, finding))
		return false;
	if (borrower != NULL)
		finding->sentence = psprintf("%s, %sby \"%s\"", finding->sentence, sessions < crowd->n ? psprintf("%d of them ", sessions) : "", borrower);
	if (suspect != NULL && suspect->watched != NULL && !facts->source->may_see(suspect->slot.role))
		finding->evidence = psprintf("pid %d, of a borrower that is not shown.", suspect->slot.pid);
	finding->next_step = "SELECT pid, service, state, idle_ms, borrower, borrowed_since FROM pool_exhaust_backends WHERE borrower IS NOT NULL AND idle_ms > 1000 ORDER BY idle_ms DESC;";
	return true;
}

const Explanation explanation_borrowed = {
	.name = "borrowed",
	.recorded = true,
	.rule = LEAK_BORROWED,
	.what = "idle and still borrowed",
	.accounts_for = is_borrowed,
	.judge = judge_borrowed,
};

/* ---------- Idle in transaction ---------- */

static bool
is_idle_in_transaction(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return is_suspected(self, facts, session) ||
		(session->pressed && session->slot.state == SLOT_IDLE_IN_TRANSACTION && session->state_ms >= PRESSED_MS);
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
	if (!judge_crowd(self, facts, crowd, finding))
		return false;
	finding->next_step = "SELECT pid, service, state, xact_ms FROM pool_exhaust_backends WHERE state LIKE 'idle in transaction%' ORDER BY xact_ms DESC;";
	return true;
}

const Explanation explanation_idle_in_transaction = {
	.name = "idle in transaction",
	.recorded = true,
	.rule = LEAK_IDLE_IN_TRANSACTION,
	.what = "idle in transaction",
	.accounts_for = is_idle_in_transaction,
	.judge = judge_idle_in_transaction,
};

/* ---------- Connections that were never released ---------- */

const Explanation explanation_abandoned = {
	.name = "abandoned",
	.recorded = true,
	.rule = LEAK_ABANDONED,
	.what = "abandoned by the pool that used it before",
	.accounts_for = is_suspected,
	.judge = judge_suspects,
};

const Explanation explanation_growth = {
	.name = "growth",
	.recorded = true,
	.rule = LEAK_GROWTH,
	.what = "opened one after the other and never used again",
	.accounts_for = is_suspected,
	.judge = judge_suspects,
};

/*
 * locks.c
 *		Explanations by locks: sessions that wait behind another.
 */
#include "postgres.h"

#include "advise/explain/explain.h"

/* Sessions that wait behind the same one are a pile-up from here on. */
#define WAITERS_MIN		3

static const char *const doing[SLOT_STATES] = {
	[SLOT_AUTHENTICATING] = "logging in",
	[SLOT_ACTIVE] = "active",
	[SLOT_IDLE] = "idle",
	[SLOT_IDLE_IN_TRANSACTION] = "idle in transaction",
	[SLOT_UNKNOWN] = "in a state that is not known",
};

/* Returns which of its sessions most of the others wait behind, or NULL. */
static const SessionFacts *
most_blocking(const Facts *facts, const Explanation *explanation)
{
	const SessionFacts *most = NULL;

	foreach_session_of(facts, explanation, session)
		if (session->blocks > 0 && (most == NULL || session->blocks > most->blocks))
			most = session;
	return most;
}

static bool
waits_behind(const SessionFacts *session, const SessionFacts *root)
{
	return root != NULL ? session->behind == root : session->behind_prepared;
}

/* Returns how long the longest of those that wait behind the session has done so; NULL: behind prepared transactions. */
static int64
longest_wait_ms(const Facts *facts, const SessionFacts *root)
{
	int64		longest = 0;

	foreach_session(facts, session)
		if (waits_behind(session, root))
			longest = Max(longest, session->wait_ms);
	return longest;
}

/* Several may hold up a session that waits; then it is one of them that is named. */
static Confidence
confidence_in(const Facts *facts, const SessionFacts *root)
{
	foreach_session(facts, session)
		if (waits_behind(session, root) && session->waits_for_several)
			return CONFIDENCE_LIKELY;
	return CONFIDENCE_SURE;
}

/* Returns "3 sessions wait" or "1 session waits", palloc'd. */
static char *
waiters_text(int n)
{
	return n == 1 ? pstrdup("1 session waits") : psprintf("%d sessions wait", n);
}

/* ---------- A lock that outlives the transaction ---------- */

/* Outside of a transaction a session holds no lock but those that last as long as it does. */
static bool
strands_a_lock(const SessionFacts *session)
{
	return session->blocks > 0 && session->slot.state == SLOT_IDLE;
}

static bool
is_stranded(const Facts *facts, const SessionFacts *session)
{
	return strands_a_lock(session) || (session->behind != NULL && strands_a_lock(session->behind));
}

static bool
judge_stranded_advisory_lock(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const SessionFacts *root = most_blocking(facts, &explanation_stranded_advisory_lock);

	if (root == NULL)
		return false;
	finding->confidence = confidence_in(facts, root);
	finding->sentence = psprintf("%s for an advisory lock of pid %d (%s), which is idle outside of a transaction and keeps it",
								 waiters_text(root->blocks), root->slot.pid, root->service->name);
	finding->evidence = psprintf("The longest wait is %s. In a transaction pool the next client of that session has a lock it did not take: use pg_advisory_xact_lock().",
								 seconds_text(longest_wait_ms(facts, root)));
	finding->next_step = psprintf("SELECT locktype, classid, objid, mode, pid FROM pg_locks WHERE locktype = 'advisory' AND pid = %d;", root->slot.pid);
	return true;
}

const Explanation explanation_stranded_advisory_lock = {
	.name = "stranded advisory lock",
	.accounts_for = is_stranded,
	.judge = judge_stranded_advisory_lock,
};

/* ---------- Prepared transactions ---------- */

static bool
waits_for_prepared(const Facts *facts, const SessionFacts *session)
{
	return session->behind_prepared;
}

static bool
judge_prepared_transaction(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (crowd->n == 0)
		return false;
	finding->confidence = confidence_in(facts, NULL);
	finding->sentence = psprintf("%s for locks of prepared transactions, which no session holds", waiters_text(crowd->n));
	finding->evidence = psprintf("The longest wait is %s. A prepared transaction has no slot, and lasts until COMMIT PREPARED or ROLLBACK PREPARED.",
								 seconds_text(longest_wait_ms(facts, NULL)));
	finding->next_step = "SELECT gid, prepared, owner, database FROM pg_prepared_xacts ORDER BY prepared;";
	return true;
}

const Explanation explanation_prepared_transaction = {
	.name = "prepared transaction",
	.accounts_for = waits_for_prepared,
	.judge = judge_prepared_transaction,
};

/* ---------- A pile-up behind one session ---------- */

static bool
is_in_pile_up(const Facts *facts, const SessionFacts *session)
{
	const SessionFacts *root = session->behind != NULL ? session->behind : session;

	return root->blocks >= WAITERS_MIN;
}

static bool
judge_lock_pile_up(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const SessionFacts *root = most_blocking(facts, &explanation_lock_pile_up);

	if (root == NULL)
		return false;
	finding->confidence = confidence_in(facts, root);
	finding->sentence = psprintf("%s behind pid %d (%s), %s for %s", waiters_text(root->blocks), root->slot.pid,
								 root->service != NULL ? root->service->name : "in its login",
								 doing[root->slot.state], seconds_text(root->state_ms));
	finding->evidence = psprintf("The longest of them has waited for %s.", seconds_text(longest_wait_ms(facts, root)));
	finding->next_step = psprintf("SELECT pid, usename, state, xact_start, left(query, 60) AS query FROM pg_stat_activity WHERE pid = %d;",
								  root->slot.pid);
	return true;
}

const Explanation explanation_lock_pile_up = {
	.name = "lock pile-up",
	.accounts_for = is_in_pile_up,
	.judge = judge_lock_pile_up,
};

/*
 * locks.c
 *		Explanations by locks: sessions that wait behind another.
 */
#include "postgres.h"

#include "advise/explain/explain.h"

/* So many sessions that wait behind the same one are a pile-up, if one of them has waited for so long. */
#define WAITERS_MIN		3
#define WAIT_MS			1000

static const char *const doing[SLOT_STATES] = {
	[SLOT_AUTHENTICATING] = "logging in",
	[SLOT_ACTIVE] = "active",
	[SLOT_IDLE] = "idle",
	[SLOT_IDLE_IN_TRANSACTION] = "idle in transaction",
	[SLOT_UNKNOWN] = "in a state that is not known",
};

static bool
is_of_root(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	return session->root != NULL && self->is_root(session->root);
}

/* Returns the root that most sessions of the explanation wait behind, its service named; NULL: there is none. */
static const LockRoot *
worst_root(const Explanation *self, const Facts *facts)
{
	const LockRoot *worst = NULL;

	foreach_session_of(facts, self, session)
		if (worst == NULL || session->root->waiters > worst->waiters)
			worst = session->root;
	if (worst != NULL && worst->session != NULL && worst->session->service != NULL)
		service_require_name(facts, worst->session->service);
	return worst;
}

/* Several may hold up a session that waits; then it is one of them that is named. */
static Confidence
confidence_in(const LockRoot *root)
{
	return root->several ? CONFIDENCE_LIKELY : CONFIDENCE_SURE;
}

/* Returns "3 sessions wait" or "1 session waits", palloc'd. */
static char *
waiters_text(const LockRoot *root)
{
	return root->waiters == 1 ? pstrdup("1 session waits") : psprintf("%d sessions wait", root->waiters);
}

static bool
is_pile(const LockRoot *root)
{
	return root->waiters >= WAITERS_MIN && root->longest_ms >= WAIT_MS;
}

/* ---------- A lock that outlives the transaction ---------- */

/* Outside of a transaction a session holds no lock but those that last as long as it does. */
static bool
is_stranded(const LockRoot *root)
{
	return is_pile(root) && root->session != NULL && root->session->slot.state == SLOT_IDLE;
}

/* Processes that elect a leader by a lock look the same. */
static bool
judge_stranded_advisory_lock(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const LockRoot *root = worst_root(self, facts);

	if (root == NULL)
		return false;
	finding->confidence = CONFIDENCE_LIKELY;
	finding->sentence = psprintf("%s for an advisory lock of pid %d (%s), which is idle outside of a transaction and keeps it",
								 waiters_text(root), root->pid, root->session->service->name);
	finding->evidence = psprintf("The longest wait is %s. In a transaction pool the next client of that session has a lock it did not take: use pg_advisory_xact_lock().",
								 seconds_text(root->longest_ms));
	finding->next_step = psprintf("SELECT locktype, classid, objid, mode, pid FROM pg_locks WHERE locktype = 'advisory' AND pid = %d;", root->pid);
	return true;
}

const Explanation explanation_stranded_advisory_lock = {
	.name = "stranded advisory lock",
	.is_root = is_stranded,
	.accounts_for = is_of_root,
	.judge = judge_stranded_advisory_lock,
};

/* ---------- Prepared transactions ---------- */

static bool
is_prepared(const LockRoot *root)
{
	return root->pid == 0 && root->longest_ms >= WAIT_MS;
}

static bool
judge_prepared_transaction(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const LockRoot *root = worst_root(self, facts);

	if (root == NULL)
		return false;
	finding->confidence = confidence_in(root);
	finding->sentence = psprintf("%s for locks of prepared transactions, which no session holds", waiters_text(root));
	finding->evidence = psprintf("The longest wait is %s. A prepared transaction has no slot, and lasts until COMMIT PREPARED or ROLLBACK PREPARED.",
								 seconds_text(root->longest_ms));
	finding->next_step = "SELECT gid, prepared, owner, database FROM pg_prepared_xacts ORDER BY prepared;";
	return true;
}

const Explanation explanation_prepared_transaction = {
	.name = "prepared transaction",
	.is_root = is_prepared,
	.accounts_for = is_of_root,
	.judge = judge_prepared_transaction,
};

/* ---------- A pile-up behind one process ---------- */

static bool
is_pile_up(const LockRoot *root)
{
	return root->pid != 0 && is_pile(root);
}

/* Returns which process it is, and what it does, palloc'd. */
static char *
root_text(const LockRoot *root)
{
	const SessionFacts *session = root->session;

	if (session == NULL)
		return psprintf("pid %d, which is no session of a client", root->pid);
	return psprintf("pid %d (%s, %s for %s)", root->pid, session->service != NULL ? session->service->name : "in its login",
					doing[session->slot.state], seconds_text(session->state_ms));
}

static bool
judge_lock_pile_up(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const LockRoot *root = worst_root(self, facts);

	if (root == NULL)
		return false;
	finding->confidence = confidence_in(root);
	finding->sentence = psprintf("%s behind %s", waiters_text(root), root_text(root));
	finding->evidence = psprintf("The longest wait is %s.", seconds_text(root->longest_ms));
	finding->next_step = psprintf("SELECT pid, backend_type, usename, state, xact_start, left(query, 60) AS query FROM pg_stat_activity WHERE pid = %d;",
								  root->pid);
	return true;
}

const Explanation explanation_lock_pile_up = {
	.name = "lock pile-up",
	.is_root = is_pile_up,
	.accounts_for = is_of_root,
	.judge = judge_lock_pile_up,
};

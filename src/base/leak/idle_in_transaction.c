/*
 * idle_in_transaction.c
 *		Leak rule "idle in transaction": a session does nothing, and its transaction
 *		stays open, though no other one can be at work with its snapshot.
 */
#include "postgres.h"

#include "base/leak/leak.h"

static bool
idle_in_transaction_judge(LeakWatch *watch, LeakSession *session)
{
	return session->seen.state == SLOT_IDLE_IN_TRANSACTION && !session->seen.exports_snapshot &&
		leak_held_too_long(watch, session);
}

static void
idle_in_transaction_evidence(const LeakSession *session, double held_s, char *text)
{
	snprintf(text, LEAK_EVIDENCE_LEN, "idle in %s transaction for %.1f s, longer than %.6g s",
			 session->seen.aborted ? "a failed" : "an open", held_s, session->evidence.threshold_ms / 1000.0);
}

static bool
idle_in_transaction_note(const LeakLimits *limits, int threshold_ms, char *text)
{
	return leak_limit_note("idle_in_transaction_session_timeout", limits->idle_in_transaction_ms, threshold_ms, text) ||
		leak_limit_note("transaction_timeout", limits->transaction_ms, threshold_ms, text);
}

const LeakRuleType leak_rule_idle_in_transaction = {
	.name = "idle in transaction",
	.state = SLOT_IDLE_IN_TRANSACTION,
	.certainty = LEAK_LIKELY,
	.failed_is_certain = true,
	.judge = idle_in_transaction_judge,
	.evidence = idle_in_transaction_evidence,
	.note = idle_in_transaction_note,
};

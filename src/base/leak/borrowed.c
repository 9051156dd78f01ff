/*
 * borrowed.c
 *		Leak rule "borrowed": a session is idle, in a transaction or not, and its
 *		client has said what has it and has not taken that back.
 *
 * So it is before "idle in transaction": the same session, and what is to be
 * corrected has a name.
 */
#include "postgres.h"

#include "base/leak/leak.h"

static bool
borrowed_judge(LeakWatch *watch, LeakSession *session)
{
	const LeakObservation *seen = &session->seen;

	return is_borrowed_at(&seen->borrower, seen->state_since) &&
		(leak_lies_idle(watch, session) ||
		 (seen->state == SLOT_IDLE_IN_TRANSACTION && leak_held_too_long(watch, session)));
}

static void
borrowed_evidence(const LeakSession *session, double held_s, char *text)
{
	const LeakObservation *seen = &session->seen;
	uint64		before_us = session->since_us - Min(session->borrowed_us, session->since_us);

	snprintf(text, LEAK_EVIDENCE_LEN, "idle%s for %.1f s, longer than %.6g s; borrowed %.1f s ago by \"%s\"",
			 seen->state == SLOT_IDLE ? "" : seen->aborted ? " in a failed transaction" : " in an open transaction",
			 held_s, session->evidence.threshold_ms / 1000.0, held_s + before_us / 1e6, seen->borrower.name);
}

/* It takes two settings to end all such sessions before. */
static bool
borrowed_note(const LeakLimits *limits, int threshold_ms, char *text)
{
	return (leak_limit_note("idle_in_transaction_session_timeout", limits->idle_in_transaction_ms, threshold_ms, text) ||
			leak_limit_note("transaction_timeout", limits->transaction_ms, threshold_ms, text)) &&
		leak_limit_note("idle_session_timeout", limits->idle_ms, threshold_ms, text);
}

const LeakRuleType leak_rule_borrowed = {
	.name = "borrowed",
	.state = SLOT_IDLE,
	.certainty = LEAK_CERTAIN,
	.judge = borrowed_judge,
	.evidence = borrowed_evidence,
	.note = borrowed_note,
};

/*
 * dead_client.c
 *		Leak rule "dead client": the client of a session has gone, and the session has
 *		not noticed, because it runs a statement.
 */
#include "postgres.h"

#include "base/leak/leak.h"

static bool
dead_client_judge(LeakWatch *watch, LeakSession *session)
{
	return session->seen.client_gone && session->seen.state == SLOT_ACTIVE && leak_held_too_long(watch, session);
}

static void
dead_client_evidence(const LeakSession *session, double held_s, char *text)
{
	snprintf(text, LEAK_EVIDENCE_LEN,
			 "its client has closed the connection, and its statement has run for %.1f s, longer than %.6g s",
			 held_s, session->evidence.threshold_ms / 1000.0);
}

static bool
dead_client_note(const LeakLimits *limits, int threshold_ms, char *text)
{
	if (leak_limit_note("client_connection_check_interval", limits->client_check_ms, threshold_ms, text))
		return true;
	snprintf(text, LEAK_NOTE_LEN, "could not read the sockets of some sessions: %s", strerror(limits->client_errno));
	return limits->client_errno != 0;
}

const LeakRuleType leak_rule_dead_client = {
	.name = "dead client",
	.state = SLOT_ACTIVE,
	.certainty = LEAK_CERTAIN,
	.judge = dead_client_judge,
	.evidence = dead_client_evidence,
	.note = dead_client_note,
};

/*
 * cause.c
 *		SQLSTATE + routine -> cause of a refusal.
 */
#include "postgres.h"

#include "cause.h"

const CauseKind cause_kinds[CAUSES] = {
	[CAUSE_CHILD_PROCESSES] = {"child_processes", "53300", 503, true},
	[CAUSE_TOO_MANY_CLIENTS] = {"too_many_clients", "53300", 503, true},
	[CAUSE_RESERVED_SLOTS] = {"reserved_slots", "53300", 503, true},
	[CAUSE_ROLE_LIMIT] = {"role_limit", "53300", 429, false},
	[CAUSE_DATABASE_LIMIT] = {"database_limit", "53300", 429, false},
	[CAUSE_WALSENDER_LIMIT] = {"walsender_limit", "53300", 503, false},
	[CAUSE_NOT_ACCEPTING] = {"not_accepting", "57P03", 503, false},
	[CAUSE_OTHER_LIMIT] = {"other_limit", "53300", 503, false},
};

/*
 * Routines as 15, 17 and 18 report them; the first rule that fits decides.
 * A NULL routine fits every routine.  max_wal_senders shares InitProcess with
 * "too many clients": only the server can tell them apart (refusal.c).
 */
static const struct
{
	const char *sqlstate;
	const char *routine;
	Cause		cause;
}			cause_rules[] = {
	{"53300", "ProcessStartupPacket", CAUSE_CHILD_PROCESSES},	/* 15 */
	{"53300", "BackendInitialize", CAUSE_CHILD_PROCESSES},	/* 17, 18 */
	{"53300", "InitProcess", CAUSE_TOO_MANY_CLIENTS},
	{"53300", "InitPostgres", CAUSE_RESERVED_SLOTS},
	{"53300", "InitializeSessionUserId", CAUSE_ROLE_LIMIT},
	{"53300", "CheckMyDatabase", CAUSE_DATABASE_LIMIT},
	{"53300", NULL, CAUSE_OTHER_LIMIT},
	{"57P03", NULL, CAUSE_NOT_ACCEPTING},
};

/*
 * Returns the cause, or CAUSE_NONE if the error says nothing about capacity.
 * "routine" may be NULL or empty when the sender did not give one.  Allocates
 * nothing, so that it can serve in a process that has no PGPROC.
 */
Cause
cause_classify(const char *sqlstate, const char *routine)
{
	for (int i = 0; i < lengthof(cause_rules); i++)
	{
		if (strcmp(cause_rules[i].sqlstate, sqlstate) != 0)
			continue;
		if (cause_rules[i].routine == NULL ||
			(routine != NULL && strcmp(cause_rules[i].routine, routine) == 0))
			return cause_rules[i].cause;
	}
	return CAUSE_NONE;
}

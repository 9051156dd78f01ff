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
	[CAUSE_POOLER_CLIENTS] = {"pooler_clients", "08P01", 503, false},
	[CAUSE_POOLER_USER_LIMIT] = {"pooler_user_limit", "08P01", 429, false},
	[CAUSE_POOLER_DATABASE_LIMIT] = {"pooler_database_limit", "08P01", 429, false},
	[CAUSE_POOLER_FULL] = {"pooler_full", "53300", 503, false},
	[CAUSE_POOLER_QUEUE_TIMEOUT] = {"pooler_queue_timeout", "08P01", 503, false},
	[CAUSE_POOLER_SERVER_DOWN] = {"pooler_server_down", "08P01", 503, false},
	[CAUSE_POOLER_SERVER_FULL] = {"pooler_server_full", "08P01", 503, false},
	[CAUSE_POOLER_SHUTDOWN] = {"pooler_shutdown", "08P01", 503, false},
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

/*
 * What poolers say, as measured: docs/poolers.md.  The first rule that fits
 * decides; a message need only contain the text.
 */
static const struct
{
	const char *sqlstate;
	const char *text;
	Cause		cause;
}			pooler_rules[] = {
	/* PgBouncer, client.c, janitor.c and objects.c */
	{"08P01", "no more connections allowed (max_client_conn)", CAUSE_POOLER_CLIENTS},
	{"08P01", "(max_user_client_connections)", CAUSE_POOLER_USER_LIMIT},
	{"08P01", "(max_db_client_connections)", CAUSE_POOLER_DATABASE_LIMIT},
	{"08P01", "query_wait_timeout", CAUSE_POOLER_QUEUE_TIMEOUT},
	{"08P01", "client_login_timeout", CAUSE_POOLER_SERVER_DOWN},
	{"08P01", "server login has been failing", CAUSE_POOLER_SERVER_DOWN},
	{"08P01", "too many connections for ", CAUSE_POOLER_SERVER_FULL},
	{"08P01", "remaining connection slots are reserved", CAUSE_POOLER_SERVER_FULL},
	{"08P01", "sorry, too many clients already", CAUSE_POOLER_SERVER_FULL},
	{"08P01", "server shutting down", CAUSE_POOLER_SHUTDOWN},
	{"08P01", "pgbouncer is shutting down", CAUSE_POOLER_SHUTDOWN},
};

/*
 * The same for an answer that a client got, which may be a pooler's; libpq has
 * put no routine there then.
 */
Cause
cause_of_answer(const char *sqlstate, const char *routine, const char *message)
{
	if (routine == NULL || routine[0] == '\0')
		for (int i = 0; i < lengthof(pooler_rules); i++)
			if (strcmp(pooler_rules[i].sqlstate, sqlstate) == 0 &&
				strstr(message, pooler_rules[i].text) != NULL)
				return pooler_rules[i].cause;
	return cause_classify(sqlstate, routine);
}

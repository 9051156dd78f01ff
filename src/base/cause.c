/*
 * cause.c
 *		SQLSTATE + routine -> cause of a refusal.
 */
#include "postgres.h"

#include "base/cause.h"

const CauseKind cause_kinds[CAUSES] = {CAUSE_LIST(LIST_ROW)};

/*
 * Routines as 15, 17, 18 and 19 report them; the first rule that fits decides.
 * A NULL routine fits every routine.  max_wal_senders shares InitProcess with
 * "too many clients": only the server can distinguish them (refusal.c).
 */
static const struct
{
	const char *sqlstate;
	const char *routine;
	Cause		cause;
}			cause_rules[] = {
	{"53300", "ProcessStartupPacket", CAUSE_CHILD_PROCESSES},	/* 15 */
	{"53300", "BackendInitialize", CAUSE_CHILD_PROCESSES},	/* 17, 18, 19 */
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
 * decides; the message need only contain the text, and a NULL SQLSTATE is 08P01
 * or 53300, as PgBouncer forwards a refusal before and since 1.20.
 */
static const struct
{
	const char *sqlstate;
	const char *text;
	Cause		cause;
}			pooler_rules[] = {
	/* The server behind it has refused a pooler. */
	{NULL, "sorry, too many clients already", CAUSE_POOLER_SERVER_FULL},
	{NULL, "remaining connection slots are reserved", CAUSE_POOLER_SERVER_FULL},
	{NULL, "too many connections for role", CAUSE_POOLER_SERVER_FULL},
	{NULL, "too many connections for database", CAUSE_POOLER_SERVER_FULL},

	/* PgBouncer */
	{"08P01", "no more connections allowed", CAUSE_POOLER_CLIENTS},
	{"08P01", "(max_user_client_connections)", CAUSE_POOLER_USER_LIMIT},
	{"08P01", "(max_db_client_connections)", CAUSE_POOLER_DATABASE_LIMIT},
	{"08P01", "query_wait_timeout", CAUSE_POOLER_QUEUE_TIMEOUT},
	{"08P01", "server login has been failing", CAUSE_POOLER_SERVER_DOWN},
	{"08P01", "client_login_timeout (server down)", CAUSE_POOLER_SERVER_DOWN},
	{"08P01", "server conn crashed?", CAUSE_POOLER_SERVER_DOWN},
	{"08P01", "server shutting down", CAUSE_POOLER_SHUTDOWN},
	{"08P01", "pooler is shutting down", CAUSE_POOLER_SHUTDOWN},
	{"08P01", "is disabled", CAUSE_POOLER_SHUTDOWN},
	{"08P01", "database removed", CAUSE_POOLER_SHUTDOWN},
	{"08P01", "admin forced disconnect", CAUSE_POOLER_SHUTDOWN},

	/* Pgpool-II, which begins as PostgreSQL does not: in capitals */
	{"53300", "Sorry, too many clients already", CAUSE_POOLER_CLIENTS},

	{"XX000", "failed to create a backend", CAUSE_POOLER_SERVER_DOWN},

	/* pgagroal */
	{"53300", "connection pool is full", CAUSE_POOLER_FULL},
	{"53300", "connection refused", CAUSE_POOLER_SERVER_DOWN},

	/* Odyssey */
	{"53300", "too many active clients for user", CAUSE_POOLER_QUEUE_TIMEOUT},
	{"53300", "(global client_max", CAUSE_POOLER_CLIENTS},
	{"53300", "(client_max for user", CAUSE_POOLER_USER_LIMIT},
	{"08006", "failed to connect to remote server", CAUSE_POOLER_SERVER_DOWN},
	{"08006", "gracefully shutting down", CAUSE_POOLER_SHUTDOWN},
};

/*
 * The same for an answer that a client got, which may be a pooler's: then no
 * routine stands there.
 */
Cause
cause_of_answer(const char *sqlstate, const char *routine, const char *message)
{
	bool		forwarded = strcmp(sqlstate, "08P01") == 0 || strcmp(sqlstate, "53300") == 0;

	if (routine == NULL || routine[0] == '\0')
		for (int i = 0; i < lengthof(pooler_rules); i++)
		{
			const char *wanted = pooler_rules[i].sqlstate;

			if ((wanted == NULL ? forwarded : strcmp(wanted, sqlstate) == 0) &&
				strstr(message, pooler_rules[i].text) != NULL)
				return pooler_rules[i].cause;
		}
	return cause_classify(sqlstate, routine);
}

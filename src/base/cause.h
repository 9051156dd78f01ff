/*
 * cause.h
 *		Why a connection was refused: the one table that everybody reads.
 *
 * The server sees a refusal as ErrorData, a client as libpq's verbose error
 * text.  Both carry SQLSTATE and routine, and those two decide the cause; the
 * message does not, because it changes with the release and with lc_messages.
 * Poolers name no routine, and PgBouncer has one SQLSTATE for nearly all that it
 * says; their messages are not translated, and there the message decides.
 */
#ifndef POOL_EXHAUST_BASE_CAUSE_H
#define POOL_EXHAUST_BASE_CAUSE_H

typedef enum Cause
{
	CAUSE_NONE = -1,			/* not a refusal for lack of capacity */
	CAUSE_CHILD_PROCESSES,		/* the postmaster has all the children it may */
	CAUSE_TOO_MANY_CLIENTS,		/* no slot is free, reserved ones included */
	CAUSE_RESERVED_SLOTS,		/* only reserved slots are free */
	CAUSE_ROLE_LIMIT,			/* CONNECTION LIMIT of the role */
	CAUSE_DATABASE_LIMIT,		/* CONNECTION LIMIT of the database */
	CAUSE_WALSENDER_LIMIT,		/* max_wal_senders */
	CAUSE_NOT_ACCEPTING,		/* starting up, in recovery, shutting down */
	CAUSE_OTHER_LIMIT,			/* 53300 from a routine that is not known here */

	/* What only poolers say, and so only a client hears. */
	CAUSE_POOLER_CLIENTS,		/* the pooler has all the clients it may */
	CAUSE_POOLER_USER_LIMIT,	/* this user has */
	CAUSE_POOLER_DATABASE_LIMIT,	/* this database has */
	CAUSE_POOLER_FULL,			/* it has no connection to hand out, and does not wait for one */
	CAUSE_POOLER_QUEUE_TIMEOUT, /* nor had it one after a wait */
	CAUSE_POOLER_SERVER_DOWN,	/* it cannot reach the server */
	CAUSE_POOLER_SERVER_FULL,	/* the server has refused it */
	CAUSE_POOLER_SHUTDOWN		/* it is shutting down, or paused the database */
} Cause;

#define LEDGER_CAUSES (CAUSE_OTHER_LIMIT + 1)	/* that the server's ledger knows */
#define CAUSES (CAUSE_POOLER_SHUTDOWN + 1)

typedef struct CauseKind
{
	const char *name;			/* as the views show it */
	const char *sqlstate;
	int			http_status;	/* 429: the caller's own limit; 503: everybody's */
	bool		takes_slots;	/* the server's own slots ran out */
} CauseKind;

extern const CauseKind cause_kinds[CAUSES];

extern Cause cause_classify(const char *sqlstate, const char *routine);
extern Cause cause_of_answer(const char *sqlstate, const char *routine, const char *message);

#endif							/* POOL_EXHAUST_BASE_CAUSE_H */

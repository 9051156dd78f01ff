/*
 * cause.h
 *		Why a connection was refused: the one table that everybody reads.
 *
 * The server sees a refusal as ErrorData, a client as libpq's verbose error
 * text.  Both carry SQLSTATE and routine, and those two decide the cause; the
 * message does not, because it changes with the release and with lc_messages.
 */
#ifndef POOL_EXHAUST_CAUSE_H
#define POOL_EXHAUST_CAUSE_H

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
	CAUSE_OTHER_LIMIT			/* 53300 from a routine that is not known here */
} Cause;

#define CAUSES (CAUSE_OTHER_LIMIT + 1)

typedef struct CauseKind
{
	const char *name;			/* as the views show it */
	const char *sqlstate;
	int			http_status;	/* 429: the caller's own limit; 503: everybody's */
	bool		takes_slots;	/* the server's own slots ran out */
} CauseKind;

extern const CauseKind cause_kinds[CAUSES];

extern Cause cause_classify(const char *sqlstate, const char *routine);

#endif							/* POOL_EXHAUST_CAUSE_H */

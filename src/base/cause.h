/*
 * cause.h
 *		Why a connection was refused: the one list of causes.
 *
 * The server sees a refusal as ErrorData, a client as libpq's verbose error
 * text.  Both carry SQLSTATE and routine, and those two decide the cause; the
 * message does not, because it changes with the release and with lc_messages.
 * Poolers name no routine, and PgBouncer has one SQLSTATE for nearly all that it
 * says; their messages are not translated, and there the message decides.
 */
#pragma once

#include "base/words.h"

/* What the server says, and its ledger counts: a row is a CauseKind. */
#define SERVER_CAUSE_LIST(ROW) \
	ROW(CAUSE_CHILD_PROCESSES, "child_processes", "53300", 503, true, \
		"the postmaster has all the children it may") \
	ROW(CAUSE_TOO_MANY_CLIENTS, "too_many_clients", "53300", 503, true, \
		"no slot is free, reserved ones included") \
	ROW(CAUSE_RESERVED_SLOTS, "reserved_slots", "53300", 503, true, \
		"only reserved slots are free") \
	ROW(CAUSE_ROLE_LIMIT, "role_limit", "53300", 429, false, \
		"CONNECTION LIMIT of the role") \
	ROW(CAUSE_DATABASE_LIMIT, "database_limit", "53300", 429, false, \
		"CONNECTION LIMIT of the database") \
	ROW(CAUSE_WALSENDER_LIMIT, "walsender_limit", "53300", 503, false, \
		"max_wal_senders") \
	ROW(CAUSE_NOT_ACCEPTING, "not_accepting", "57P03", 503, false, \
		"starting up, in recovery, shutting down") \
	ROW(CAUSE_OTHER_LIMIT, "other_limit", "53300", 503, false, \
		"53300 from a routine that is not known here")

/* What only poolers say, so that only a client gets it. */
#define POOLER_CAUSE_LIST(ROW) \
	ROW(CAUSE_POOLER_CLIENTS, "pooler_clients", "08P01", 503, false, \
		"the pooler has all the clients it may") \
	ROW(CAUSE_POOLER_USER_LIMIT, "pooler_user_limit", "08P01", 429, false, \
		"the pooler has all the clients of this user it may") \
	ROW(CAUSE_POOLER_DATABASE_LIMIT, "pooler_database_limit", "08P01", 429, false, \
		"the pooler has all the clients of this database it may") \
	ROW(CAUSE_POOLER_FULL, "pooler_full", "53300", 503, false, \
		"the pooler has no connection to hand out, and does not wait for one") \
	ROW(CAUSE_POOLER_QUEUE_TIMEOUT, "pooler_queue_timeout", "08P01", 503, false, \
		"the pooler had no connection to hand out after a wait") \
	ROW(CAUSE_POOLER_SERVER_DOWN, "pooler_server_down", "08P01", 503, false, \
		"the pooler cannot reach the server") \
	ROW(CAUSE_POOLER_SERVER_FULL, "pooler_server_full", "08P01", 503, false, \
		"the server has refused the pooler") \
	ROW(CAUSE_POOLER_SHUTDOWN, "pooler_shutdown", "08P01", 503, false, \
		"the pooler is shutting down, or paused the database")

#define CAUSE_LIST(ROW)	SERVER_CAUSE_LIST(ROW) POOLER_CAUSE_LIST(ROW)

typedef enum Cause
{
	CAUSE_NONE = -1,			/* not a refusal for lack of capacity */
	CAUSE_LIST(LIST_MEMBER)
} Cause;

#define LEDGER_CAUSES	LIST_COUNT(SERVER_CAUSE_LIST)
#define CAUSES			LIST_COUNT(CAUSE_LIST)

typedef struct CauseKind
{
	const char *name;			/* as the views show it */
	const char *sqlstate;
	int			http_status;	/* 429: the caller's own limit; 503: one that all share */
	bool		takes_slots;	/* the server's own slots ran out */
	const char *meaning;
} CauseKind;

extern const CauseKind cause_kinds[CAUSES];

extern Cause cause_classify(const char *sqlstate, const char *routine);
extern Cause cause_of_answer(const char *sqlstate, const char *routine, const char *message);

/*
 * session.h
 *		One libpq connection as an asynchronous state machine.
 */
#pragma once

#include "libpq-fe.h"

#include "lib/ilist.h"

#include "event/alarm.h"
#include "event/loop.h"
#include "load/login.h"
#include "load/memory.h"
#include "load/take.h"

/* What a query came to; the texts stand until the callback returns. */
typedef struct QueryResult
{
	bool		ok;
	const char *sqlstate;		/* these two of the first error */
	const char *message;
	const char *value;			/* first column of the first row, NULL if there is none */
	const PGresult *rows;		/* all there is, of a session that keeps rows */
} QueryResult;

typedef void (*QueryDone) (void *arg, const QueryResult *result);

typedef enum SessionState
{
	SESSION_UNUSED,
	SESSION_CONNECTING,
	SESSION_OPEN,
	SESSION_CLOSING				/* waits for libuv to let go of its handles */
} SessionState;

typedef struct Session Session;

/* They run inside the loop: they must not throw. */
typedef struct SessionEvents
{
	void		(*connected) (Session *session, const ConnectResult *result);
	void		(*lost) (Session *session); /* the server ended an open session */
	void		(*unused) (Session *session);	/* may be opened again; may be NULL */
	void		(*notified) (Session *session, const char *payload);	/* may be NULL */

	/* The query that runs has said START_NOTICE; before its answer.  May be NULL. */
	void		(*began) (Session *session);
} SessionEvents;

/*
 * A query that begins with this reports when it begins, also where it first had to
 * wait for a pooler: the server sends notices at once, and INFO whatever
 * client_min_messages is.
 */
#define START_NOTICE	"pool_exhaust: begins"
#define START_SQL		"DO $$BEGIN RAISE INFO '" START_NOTICE "'; END$$"

/*
 * One that goes on, for an hour, and says so again and again: so the server
 * notices soon when the client is gone, whatever stands in between.
 */
#define ENDLESS_SQL \
	"DO $$BEGIN FOR i IN 1..72000 LOOP RAISE INFO '" START_NOTICE "'; PERFORM pg_catalog.pg_sleep(0.05); END LOOP; END$$"

/* All zero is one that is unused.  What a query or a connection needs is zero again once it is closed. */
struct Session
{
	SessionState state;
	int			closing;		/* handles still to be let go of */
	bool		polled;			/* libuv knows the socket ... */
	int			watched;		/* ... and watches it for this */
	PGconn	   *conn;
	bool		stalls;			/* its login is to */
	bool		begins;			/* its query has said so, and that is not reported yet */
	bool		late;			/* it was lost because it did not answer in time */
	bool		too_much;		/* it was lost because the other side sent more than may be kept */
	ConnectResult end;			/* what the other side said when it ended the connection; no SQLSTATE: nothing yet */
	Memory		memory;			/* that libpq has for it */
	const Login *login;
	bool		spared;			/* set by the owner before it is opened: no hooks */
	bool		keeps_rows;		/* likewise: all rows of an answer, not just the first */
	const LoginHooks *hooks;	/* NULL: none */

	/* Of the hooks: while the alarm is set, it does not read. */
	Alarm		pause;
	bool		listed;
	dlist_node	hook_node;

	uint64		started_us;
	QueryDone	done;			/* of the query that runs; NULL if none does */
	void	   *done_arg;
	Answer		answer;			/* to that query, as far as it came */
	const SessionEvents *events;
	void	   *owner;
	dlist_node	node;			/* in one of the owner's lists */
	uv_poll_t	poll;
	uv_timer_t	timer;
};

extern void session_open(Session *session, Loop *loop, const Login *login, int timeout_ms,
						 const SessionEvents *events, void *owner);
extern void session_query(Session *session, const char *sql, int timeout_ms,
						  QueryDone done, void *arg);
extern void session_take_over(Session *session, QueryDone done, void *arg);
extern void session_failure(const Session *session, ConnectResult *failure);
extern bool machine_is_silent(const ConnectResult *failure);
extern void session_close(Session *session);
extern void session_vanish(Session *session);
extern void session_hang_up(Session *session);

/* For hooks. */
extern void session_drop(Session *session);
extern void session_pause(Session *session);
extern void session_go_on(Session *session);

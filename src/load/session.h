/*
 * session.h
 *		One libpq connection as an asynchronous state machine.
 */
#ifndef POOL_EXHAUST_LOAD_SESSION_H
#define POOL_EXHAUST_LOAD_SESSION_H

#include "libpq-fe.h"

#include "lib/ilist.h"

#include "base/cause.h"
#include "event/alarm.h"
#include "event/loop.h"

#define ROUTINE_LEN		64
#define MESSAGE_LEN		256

/* How to log in: a libpq keyword/value list, terminated by NULL. */
#define LOGIN_PARAMS	24

typedef struct Login
{
	const char *keywords[LOGIN_PARAMS + 1];
	const char *values[LOGIN_PARAMS + 1];
	int			params;
	bool		stalls;			/* asked for its password it says no more: see stall.c */

	/* Set by chaos_concern(). */
	struct Chaos *chaos;		/* that disturbs its sessions, NULL: none */
	struct ChaosToll *toll;
	Oid			role;			/* that it leads to on this server; InvalidOid elsewhere */
} Login;

/* How an attempt to connect ended. */
typedef enum ConnectEnd
{
	CONNECT_GRANTED,			/* or it stalls, as it was to */
	CONNECT_REFUSED,			/* for lack of capacity; cause says which */
	CONNECT_DENIED,				/* another error with an SQLSTATE */
	CONNECT_UNASKED,			/* was to stall, and was let in without a password */
	CONNECT_BACKLOG,			/* the kernel's queue was full: not a refusal */
	CONNECT_TIMED_OUT,
	CONNECT_BROKEN				/* no answer that libpq could understand */
} ConnectEnd;

typedef struct ConnectResult
{
	ConnectEnd	end;
	Cause		cause;
	char		sqlstate[6];	/* empty if the server gave none */
	char		routine[ROUTINE_LEN];
	char		message[MESSAGE_LEN];
	bool		used_password;	/* the login was granted for one */
	uint64		took_us;
} ConnectResult;

/* What a query came to; the texts stand until the callback returns. */
typedef struct QueryResult
{
	bool		ok;
	const char *sqlstate;		/* these two of the first error */
	const char *message;
	const char *value;			/* first column of the first row, NULL if there is none */
	const PGresult *rows;		/* all there is */
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
	void		(*unused) (Session *session);	/* may be opened again */
	void		(*notified) (Session *session, const char *payload);	/* may be NULL */

	/* The query that runs has said START_NOTICE; before its answer.  May be NULL. */
	void		(*began) (Session *session);
} SessionEvents;

/*
 * A query that begins with this tells when it begins, also where it first had to
 * wait for a pooler: the server sends notices at once, and INFO to everybody.
 */
#define START_NOTICE	"pool_exhaust: begins"
#define START_SQL		"DO $$BEGIN RAISE INFO '" START_NOTICE "'; END$$"

/*
 * One that goes on, for an hour, and says so again and again: so the server
 * notices soon when nobody listens any more, whatever stands in between.
 */
#define ENDLESS_SQL \
	"DO $$BEGIN FOR i IN 1..72000 LOOP RAISE INFO '" START_NOTICE "'; PERFORM pg_catalog.pg_sleep(0.05); END LOOP; END$$"

struct Session
{
	SessionState state;
	int			closing;		/* handles still to be let go of */
	bool		polled;			/* libuv knows the socket ... */
	int			watched;		/* ... and watches it for this */
	PGconn	   *conn;
	bool		stalls;			/* its login is to */
	bool		begins;			/* its query has said so, and nobody was told yet */
	bool		late;			/* it was lost because it did not answer in time */
	const Login *login;
	bool		spared;			/* set by the owner before it is opened: chaos keeps off */
	struct Chaos *chaos;		/* NULL: it is not disturbed */
	bool		exposed;		/* it is in one of the lists of chaos ... */
	dlist_node	in_chaos;		/* ... by this */
	Alarm		pause;			/* the end of its stall, or of its delay */
	uint64		started_us;
	QueryDone	done;			/* of the query that runs; NULL if none does */
	void	   *done_arg;
	PGresult   *result;			/* of that query, as far as it came */
	const SessionEvents *events;
	void	   *owner;
	dlist_node	node;			/* in one of the owner's lists */
	uv_poll_t	poll;
	uv_timer_t	timer;
};

extern void login_add(Login *login, const char *keyword, const char *value);
extern void session_open(Session *session, Loop *loop, const Login *login, int timeout_ms,
						 const SessionEvents *events, void *owner);
extern void session_query(Session *session, const char *sql, int timeout_ms,
						  QueryDone done, void *arg);
extern void session_take_over(Session *session, QueryDone done, void *arg);
extern void session_failure(const Session *session, ConnectResult *failure);
extern void session_close(Session *session);
extern void session_vanish(Session *session);

/* For chaos. */
extern void session_drop(Session *session);
extern void session_stall(Session *session, uint64 us);
extern void session_go_on(Session *session);

#endif							/* POOL_EXHAUST_LOAD_SESSION_H */

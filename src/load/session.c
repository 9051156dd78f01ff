/*
 * session.c
 *		One libpq connection as an asynchronous state machine.
 *
 *		unused -> connecting -> open -> closing -> unused
 *						   \____________/
 *
 * libpq must keep to one socket for the life of a PGconn, because libuv
 * watches that descriptor: logins name one address and leave nothing to
 * negotiate by reconnecting (gssencmode=disable, an sslmode without fallback).
 * Everything here runs inside the loop and never throws.
 */
#include "postgres.h"

#include <sys/socket.h>

#include "load/auth.h"
#include "load/failure.h"
#include "load/session.h"
#include "load/stall.h"

/* The one function that changes the state of a session; calls the hooks of its login. */
static void
session_change(Session *session, SessionState state)
{
	session->state = state;
	if (session->hooks == NULL)
		return;
	if (state == SESSION_OPEN)
		session->hooks->opened(session);
	else if (state == SESSION_CLOSING)
		session->hooks->closed(session);
}

static void
session_handle_closed(uv_handle_t *handle)
{
	Session    *session = handle->data;

	if (--session->closing > 0 || session->state != SESSION_CLOSING)
		return;
	session_change(session, SESSION_UNUSED);
	if (session->events->unused != NULL)
		session->events->unused(session);
}

/*
 * libuv forgets the socket.  It keeps its books by the number of the descriptor,
 * so this must come before the descriptor can be reused: before libpq closes it,
 * or at once if libpq did so by itself.
 */
static void
session_unwatch(Session *session)
{
	if (!session->polled)
		return;
	session->polled = false;
	uv_poll_stop(&session->poll);
	uv_close((uv_handle_t *) &session->poll, session_handle_closed);
	session->closing++;
}

/* Closes the connection, if there is one, and gives the handles back. */
void
session_close(Session *session)
{
	if (session->state == SESSION_CLOSING || session->state == SESSION_UNUSED)
		return;
	session_change(session, SESSION_CLOSING);
	session_unwatch(session);
	uv_close((uv_handle_t *) &session->timer, session_handle_closed);
	session->closing++;
	PQclear(session->answer.result);
	session->answer.result = NULL;
	session->done = NULL;
	PQfinish(session->conn);
	session->conn = NULL;
	memory_forget(&session->memory);
}

/*
 * Closes an open connection as one whose client has died: the server
 * gets no message, and learns of it when it next reads its socket.
 */
void
session_vanish(Session *session)
{
	if (session->state != SESSION_OPEN)
		return;
	session_drop(session);
	session_close(session);
}

/*
 * Closes the sending half of an open session's socket and waits for the server
 * to close its own: events->lost reports that.  The server does so by ending
 * the process, so the slot is free then.
 */
void
session_hang_up(Session *session)
{
	if (session->state == SESSION_OPEN)
		shutdown(PQsocket(session->conn), SHUT_WR);
}

static void session_ready(uv_poll_t *handle, int status, int events);

/*
 * libuv takes the socket out of epoll and puts it in again at each start.  One
 * that is stalled does not read.
 */
static void
session_watch(Session *session, int events)
{
	if (session->pause.set)
		events &= ~UV_READABLE;
	if (session->watched == events || !session->polled)
		return;
	session->watched = events;
	if (events == 0)
		uv_poll_stop(&session->poll);
	else
		uv_poll_start(&session->poll, events, session_ready);
}

/* This server may send what it likes: workloads have rows of any size. */
static bool
session_is_bounded(const Session *session)
{
	return session->login->auth != AUTH_OURS;
}

/* Why a session is closed of which libpq keeps too much. */
static void
session_say_too_much(ConnectResult *failure)
{
	*failure = (ConnectResult) {CONNECT_BROKEN, CAUSE_NONE};
	snprintf(failure->message, MESSAGE_LEN,
			 "it sent more than is kept: at most %d MB for a session, and %d MB for all sessions of a run",
			 MEMORY_SESSION_MAX, MEMORY_ALL_MAX);
}

/* Why a session was lost whose packets the other machine does not take any more. */
#define MACHINE_SILENT	"its machine does not answer"

/* Has the kernel given the connection up?  If libpq knows of that already, it quotes strerror(). */
static bool
is_given_up(const PGconn *conn)
{
	int			error = 0;
	socklen_t	len = sizeof(error);

	return failure_is_unreached(PQerrorMessage(conn)) ||
		(getsockopt(PQsocket(conn), SOL_SOCKET, SO_ERROR, &error, &len) == 0 && failure_is_unreached(strerror(error)));
}

/* Returns whether a session was lost because the other machine took its packets no more. */
bool
machine_is_silent(const ConnectResult *failure)
{
	return strcmp(failure->message, MACHINE_SILENT) == 0;
}

/*
 * Says why a session was lost, as far as the other side has said; for
 * events->lost, before it closes the session.
 */
void
session_failure(const Session *session, ConnectResult *failure)
{
	if (session->too_much)
	{
		session_say_too_much(failure);
		return;
	}
	*failure = session->end;
	if (failure->sqlstate[0] == '\0')
		failure_from_result(failure, session->answer.result);
	if (failure->sqlstate[0] != '\0')
		return;
	*failure = (ConnectResult) {session->late ? CONNECT_TIMED_OUT : CONNECT_BROKEN, CAUSE_NONE};
	strlcpy(failure->message, session->late ? "no answer in time" : "the connection was closed without a message",
			MESSAGE_LEN);
	if (is_given_up(session->conn))
		*failure = (ConnectResult) {CONNECT_TIMED_OUT, CAUSE_NONE, .message = MACHINE_SILENT};
}

static void
session_lost(Session *session)
{
	session_unwatch(session);
	uv_timer_stop(&session->timer);
	session->done = NULL;
	session->events->lost(session);
}

static void
session_lost_in_time(uv_timer_t *timer)
{
	session_lost(timer->data);
}

static void
session_is_late(uv_timer_t *timer)
{
	Session    *session = timer->data;

	session->late = true;
	session_lost(session);
}

/* libpq has given the connection up: events->lost comes from the loop. */
static void
session_given_up(Session *session)
{
	session_unwatch(session);
	uv_timer_start(&session->timer, session_lost_in_time, 0, 0);
}

/* Reports that the query has begun; not from within libpq, which reads that first. */
static void
session_report_begin(Session *session)
{
	if (!session->begins)
		return;
	session->begins = false;
	session->events->began(session);
}

/* What was kept of an answer is kept no longer, unless the session is closed, which keeps nothing. */
static void
session_clear(Session *session, PGresult *result)
{
	bool		counts = session_is_bounded(session) && session->state == SESSION_OPEN;

	if (counts)
		memory_begin(&session->memory);
	PQclear(result);
	if (counts)
		(void) memory_end(&session->memory);
}

/* The query is over: reports it, and the callback may begin the next one. */
static void
session_answer(Session *session)
{
	char		text[MESSAGE_LEN];
	PGresult   *result = session->answer.result;
	QueryDone	done;
	ExecStatusType status = PQresultStatus(result);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	QueryResult answer = {
		.ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE ||
		status == PGRES_EMPTY_QUERY,
		.sqlstate = sqlstate != NULL ? sqlstate : "",
		.message = text,
		.value = PQntuples(result) > 0 && PQnfields(result) > 0 ? PQgetvalue(result, 0, 0) : NULL,
		.rows = result,
	};

	failure_message(result, text);
	session_report_begin(session);
	uv_timer_stop(&session->timer);
	if (PQstatus(session->conn) != CONNECTION_OK)
		session_given_up(session);
	done = session->done;
	session->answer.result = NULL;
	session->done = NULL;
	done(session->done_arg, &answer);
	session_clear(session, result);
}

/* Takes what has come of an open session: answers, notifications, or the server's end. */
static Taken
session_take(Session *session)
{
	PGnotify   *notify;

	if (PQconsumeInput(session->conn) == 0 || PQstatus(session->conn) != CONNECTION_OK)
		return TAKEN_END;
	/* What has no reader is taken too from libpq, which would keep all of it. */
	while ((notify = PQnotifies(session->conn)) != NULL)
	{
		if (session->events->notified != NULL)
			session->events->notified(session, notify->extra);
		PQfreemem(notify);
	}
	return session->done != NULL ? take_results(session->conn, &session->answer) : TAKEN_ALL;
}

static void
session_read(Session *session)
{
	Taken		taken;

	if (session->stalls)
	{
		if (stall_is_over(session->conn))
			session_lost(session);
		return;
	}
	if (session_is_bounded(session))
		memory_begin(&session->memory);
	taken = session_take(session);
	if (session_is_bounded(session) && !memory_end(&session->memory))
	{
		session->too_much = true;
		taken = TAKEN_END;
	}
	if (taken == TAKEN_END)
		session_lost(session);
	else if (taken == TAKEN_ANSWER)
		session_answer(session);
	else
		session_report_begin(session);
}

/* Sends what libpq could not send at once. */
static void
session_flush(Session *session)
{
	int			rc = PQflush(session->conn);

	if (rc < 0)
		session_given_up(session);
	else
		session_watch(session, rc == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE);
}

/*
 * Sends a query, one or more statements, to an open session that runs none.
 * "done" is called from the loop, once, never from within this function; but
 * not at all if the session is lost meanwhile, which events->lost reports.  With
 * a timeout, a session that does not answer in time is lost too.
 */
void
session_query(Session *session, const char *sql, int timeout_ms, QueryDone done, void *arg)
{
	Assert(session->state == SESSION_OPEN && session->done == NULL);
	session->done = done;
	session->done_arg = arg;
	if (PQsendQuery(session->conn, sql) == 0)
	{
		session_given_up(session);
		return;
	}
	session->answer.in_rows = false;
	if (!session->keeps_rows)
		PQsetSingleRowMode(session->conn);
	if (timeout_ms > 0)
	{
		uv_update_time(session->timer.loop);
		uv_timer_start(&session->timer, session_is_late, timeout_ms, 0);
	}
	session_flush(session);
}

/* Hands the query that runs on to another caller, which gets the answer. */
void
session_take_over(Session *session, QueryDone done, void *arg)
{
	Assert(session->done != NULL);
	session->done = done;
	session->done_arg = arg;
}

static void
session_finish(Session *session, ConnectResult *result)
{
	result->took_us = loop_now_us() - session->started_us;
	uv_timer_stop(&session->timer);
	if (result->end == CONNECT_GRANTED)
	{
		session_change(session, SESSION_OPEN);
		PQsetnonblocking(session->conn, 1);
		session_watch(session, UV_READABLE);
	}
	else
		session_close(session); /* libpq may have closed the descriptor; it is not reused yet */
	session->events->connected(session, result);
}

/*
 * libpq says that it is through: so a login that was to stall was not asked, and
 * one for a password need not have been.
 */
static void
session_check_asked(Session *session, ConnectResult *result)
{
	if (!auth_is_right(session->login, session->conn))
		auth_deny(session->login, result);
	if (!session->stalls)
		return;
	result->end = CONNECT_UNASKED;
	strlcpy(result->message, "granted without being asked for a password", MESSAGE_LEN);
}

/* Lets libpq go on with the login; one that may not keep what it was sent has failed. */
static PostgresPollingStatusType
session_poll(Session *session)
{
	PostgresPollingStatusType polling;

	if (!session_is_bounded(session))
		return PQconnectPoll(session->conn);
	memory_begin(&session->memory);
	polling = PQconnectPoll(session->conn);
	session->too_much = !memory_end(&session->memory);
	return session->too_much ? PGRES_POLLING_FAILED : polling;
}

static void
session_ready(uv_poll_t *handle, int status, int events)
{
	Session    *session = handle->data;
	ConnectResult result = {CONNECT_GRANTED, CAUSE_NONE};
	StallStep	stall = STALL_ON_ITS_WAY;
	AuthStep	auth = AUTH_GO_ON;

	if (status < 0)
		session->watched = 0;	/* libuv has stopped watching */
	if (session->state == SESSION_OPEN)
	{
		if (status < 0)
			session_lost(session);
		else if (events & UV_READABLE)
			session_read(session);
		else
			session_flush(session);
		return;
	}
	if (session->stalls)
		stall = stall_step(session->conn);
	else
		auth = auth_step(session->login, session->conn);
	if (stall == STALL_HALF_ASKED || auth == AUTH_INCOMPLETE)
		return;
	if (auth == AUTH_DENIED)
	{
		auth_deny(session->login, &result);
		session_finish(session, &result);
		return;
	}
	switch (stall == STALL_ASKED ? PGRES_POLLING_OK : session_poll(session))
	{
		case PGRES_POLLING_READING:
			session_watch(session, UV_READABLE);
			return;
		case PGRES_POLLING_WRITING:
			session_watch(session, UV_WRITABLE);
			return;
		case PGRES_POLLING_OK:
			if (stall != STALL_ASKED)
				session_check_asked(session, &result);
			break;
		default:
			if (session->too_much)
				session_say_too_much(&result);
			else
				failure_from_connect(&result, session->conn);
			if (auth_failed(session->login, session->conn))
				auth_deny(session->login, &result);
			break;
	}
	session_finish(session, &result);
}

static void
session_timed_out(uv_timer_t *timer)
{
	Session    *session = timer->data;
	ConnectResult result = {CONNECT_TIMED_OUT, CAUSE_NONE};

	strlcpy(result.message, "no answer in time", MESSAGE_LEN);
	session_finish(session, &result);
}

/* The timer's other use: report a connect that failed before it began. */
static void
session_failed_at_once(uv_timer_t *timer)
{
	Session    *session = timer->data;
	ConnectResult result = {CONNECT_BROKEN, CAUSE_NONE};

	if (session->conn == NULL)
		strlcpy(result.message, "out of memory", MESSAGE_LEN);
	else if (PQstatus(session->conn) != CONNECTION_BAD && !auth_peer_is_right(session->login, session->conn))
		strlcpy(result.message, "the socket is that of another operating system user", MESSAGE_LEN);
	else
		failure_from_connect(&result, session->conn);
	session_finish(session, &result);
}

/*
 * libpq would write it to stderr, which is the server log.  One of them reports that
 * a query has begun; and so comes what ends a session that runs none.
 */
static void
session_noticed(void *arg, const PGresult *result)
{
	Session    *session = arg;
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (severity != NULL && strcmp(severity, "FATAL") == 0)
		failure_from_result(&session->end, result);
	session->begins |= session->events->began != NULL && session->done != NULL &&
		message != NULL && strcmp(message, START_NOTICE) == 0;
}

/*
 * libpq wants to wait until it can write.  A unix socket is connected from the
 * start, so the first packet can go at once, which spares a turn of the loop.
 */
static PostgresPollingStatusType
session_first_poll(Session *session)
{
	PGconn	   *conn = session->conn;

	if (conn == NULL || PQstatus(conn) == CONNECTION_BAD || !auth_peer_is_right(session->login, conn))
		return PGRES_POLLING_FAILED;
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(conn, session_noticed, session);
	return PQhost(conn)[0] == '/' ? PQconnectPoll(conn) : PGRES_POLLING_WRITING;
}

static void
session_begin(Session *session)
{
	PostgresPollingStatusType polling;

	session->conn = PQconnectStartParams(session->login->keywords, session->login->values, 0);
	polling = session_first_poll(session);
	if (polling == PGRES_POLLING_FAILED ||
		uv_poll_init(session->timer.loop, &session->poll, PQsocket(session->conn)) != 0)
	{
		uv_timer_start(&session->timer, session_failed_at_once, 0, 0);
		return;
	}
	session->poll.data = session;
	session->polled = true;
	session_watch(session, polling == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE);
}

/*
 * The socket of an open session is gone, without a message to the server; its
 * owner learns it from the loop.
 */
void
session_drop(Session *session)
{
	shutdown(PQsocket(session->conn), SHUT_RDWR);
}

/* For hooks: an open session reads nothing while its alarm "pause" is set. */
void
session_pause(Session *session)
{
	session_watch(session, session->watched);
}

/*
 * For hooks, once "pause" is set no longer: a session that is delayed begins to
 * connect, one that was paused reads what has arrived.
 */
void
session_go_on(Session *session)
{
	if (session->state == SESSION_CONNECTING)
	{
		session_begin(session);
		return;
	}
	session_read(session);
	if (session->state == SESSION_OPEN)
		session_flush(session);
}

/*
 * Starts to connect.  events->connected is called from the loop, once, never
 * from within this function; after CONNECT_GRANTED the session is open and
 * the caller's to close, after anything else it closes itself.
 */
void
session_open(Session *session, Loop *loop, const Login *login, int timeout_ms,
			 const SessionEvents *events, void *owner)
{
	Assert(session->state == SESSION_UNUSED);
	session->events = events;
	session->owner = owner;
	session->watched = 0;
	session->stalls = login->stalls;
	session->begins = false;
	session->late = session->too_much = false;
	session->end = (ConnectResult) {0};
	session->login = login;
	session->hooks = session->spared ? NULL : login->hooks;
	session_change(session, SESSION_CONNECTING);
	session->started_us = loop_now_us();
	uv_update_time(&loop->uv);	/* timers count from what it was */
	uv_timer_init(&loop->uv, &session->timer);
	session->timer.data = session;
	uv_timer_start(&session->timer, session_timed_out, timeout_ms, 0);
	if (session->hooks == NULL || !session->hooks->before_connect(session))
		session_begin(session);
}

/*
 * failure.c
 *		What libpq says of a failure, taken apart.
 */
#include "postgres.h"

#include <errno.h>

#include "base/text.h"
#include "load/failure.h"

/*
 * Finds the SQLSTATE in libpq's verbose text, "FATAL:  53300: message".  The
 * severity is translated, so this finds the shape of what follows it.
 */
static const char *
find_sqlstate(const char *text)
{
	for (const char *p = strstr(text, ":  "); p != NULL; p = strstr(p + 1, ":  "))
	{
		if (strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
			p[8] == ':' && p[9] == ' ')
			return p + 3;
	}
	return NULL;
}

/* The routine stands in the last line, "LOCATION:  routine, file:line". */
static void
find_routine(const char *text, char *routine)
{
	const char *line = NULL;
	const char *end;

	for (const char *p = strchr(text, '\n'); p != NULL && p[1] != '\0'; p = strchr(p + 1, '\n'))
		line = p + 1;
	if (line == NULL || (line = strstr(line, ":  ")) == NULL)
		return;
	line += 3;
	end = strchr(line, ',');
	if (end != NULL)
		strlcpy(routine, line, Min(end - line + 1, ROUTINE_LEN));
}

/* Fills in the end and the cause of a failure that has an SQLSTATE, from what the server said. */
void
failure_classify(ConnectResult *result)
{
	result->cause = cause_of_answer(result->sqlstate, result->routine, result->message);
	result->end = result->cause != CAUSE_NONE ? CONNECT_REFUSED : CONNECT_DENIED;
}

/* Returns whether that text, which quotes strerror(), says that nothing of the other machine answers: it may be there. */
bool
failure_is_unreached(const char *text)
{
	static const int errnos[] = {ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN};

	for (int i = 0; i < lengthof(errnos); i++)
		if (strstr(text, strerror(errnos[i])) != NULL)
			return true;
	return false;
}

/*
 * Describes why a connect failed.  libpq gives a failed connect no SQLSTATE
 * field; verbose text has it.  A listen queue that is full (EAGAIN from a unix
 * socket) is the kernel's doing and no refusal.
 */
void
failure_from_connect(ConnectResult *result, const PGconn *conn)
{
	const char *text = PQerrorMessage(conn);
	const char *sqlstate = find_sqlstate(text);

	if (sqlstate != NULL)
	{
		const char *message = sqlstate + 7;

		strlcpy(result->sqlstate, sqlstate, 6);
		find_routine(text, result->routine);
		strlcpy(result->message, message, Min(strcspn(message, "\n") + 1, MESSAGE_LEN));
		text_make_printable(result->message);
		failure_classify(result);
		return;
	}
	strlcpy(result->message, text, MESSAGE_LEN);
	result->message[strcspn(result->message, "\n")] = '\0';
	text_make_printable(result->message);
	result->end = strstr(text, strerror(EAGAIN)) != NULL ? CONNECT_BACKLOG
		: failure_is_unreached(text) ? CONNECT_TIMED_OUT : CONNECT_BROKEN;
}

/*
 * What an error says: the other side's message, or libpq's where that made none
 * of it.  One line, in the server's encoding.
 */
void
failure_message(const PGresult *result, char *text)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	strlcpy(text, message != NULL ? message : PQresultErrorMessage(result), MESSAGE_LEN);
	text[strcspn(text, "\n")] = '\0';
	text_make_printable(text);
}

/* Describes why a connection was ended, as the other side says; leaves "failure" as it is if that has no SQLSTATE. */
void
failure_from_result(ConnectResult *failure, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *routine = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

	if (sqlstate == NULL)
		return;
	*failure = (ConnectResult) {0};
	strlcpy(failure->sqlstate, sqlstate, sizeof(failure->sqlstate));
	strlcpy(failure->routine, routine != NULL ? routine : "", ROUTINE_LEN);
	failure_message(result, failure->message);
	failure_classify(failure);
}

/* Returns the code of an ERROR for it: the SQLSTATE of the other side, if that gave one of an error. */
int
failure_code(const ConnectResult *failure)
{
	const char *state = failure->sqlstate;
	bool		success = state[0] == '0' && strchr("012", state[1]) != NULL;

	return strlen(state) == 5 && !success ? MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])
		: ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
}

/*
 * Returns the one text for a failed connection or login, palloc'd in the current
 * context: "SQLSTATE message", or the message alone if the server sent no
 * SQLSTATE.  Not to be called from within the loop.
 */
char *
connect_failure_text(const ConnectResult *failure)
{
	return psprintf("%s%s%s", failure->sqlstate, failure->sqlstate[0] != '\0' ? " " : "", failure->message);
}

/*
 * stall.c
 *		Logins that stall.
 *
 * A login that stalls is a client that sends its user name and then, asked for its
 * password, says nothing.  libpq takes it that far; the server's question is
 * taken from the socket, so that libpq never gets to see it.  The server holds
 * a slot for such a login, a reserved one too, because the reserves are checked
 * after the password.
 */
#include "postgres.h"

#include <errno.h>
#include <sys/socket.h>

#include "port/pg_bswap.h"

#include "load/stall.h"

/* An authentication request: 'R', length, kind; kind 0 is "you are in". */
#define QUESTION_LEN	9
#define KIND_OFFSET		5

/* What a login is up to that is to stall. */
StallStep
stall_step(PGconn *conn)
{
	char		head[QUESTION_LEN];
	char		rest[256];
	uint32		kind;
	ssize_t		n;

	if (PQstatus(conn) != CONNECTION_AWAITING_RESPONSE)
		return STALL_ON_ITS_WAY;
	n = recv(PQsocket(conn), head, QUESTION_LEN, MSG_PEEK | MSG_DONTWAIT);
	if (n < 1 || head[0] != 'R')
		return STALL_ON_ITS_WAY;
	if (n < QUESTION_LEN)
		return STALL_HALF_ASKED;
	memcpy(&kind, head + KIND_OFFSET, sizeof(kind));
	if (pg_ntoh32(kind) == 0)
		return STALL_ON_ITS_WAY;
	while (recv(PQsocket(conn), rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
	return STALL_ASKED;
}

/*
 * Has the server closed a login that stalls?  It may say why first; only
 * the end of the stream shows that its process is gone.
 */
bool
stall_is_over(PGconn *conn)
{
	char		rest[256];
	ssize_t		n;

	while ((n = recv(PQsocket(conn), rest, sizeof(rest), MSG_DONTWAIT)) > 0)
		;
	return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

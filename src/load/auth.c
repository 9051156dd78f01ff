/*
 * auth.c
 *		What a login may be asked for by the other side, and granted for.
 *
 * The other side may be a fake, or become one between two logins.  libpq answers
 * whatever it is asked, with the account of the server's operating system user
 * if need be, unless require_auth says what it may answer.  That came with libpq
 * 16; before, the requests are read from the socket before libpq gets to see
 * them.  That cannot be done under TLS, where the result of the login decides, and
 * leaves a gap of microseconds for a request that comes between those two.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <unistd.h>

#include "port/pg_bswap.h"

#include "load/auth.h"

#define LIBPQ_REQUIRE_AUTH	160000	/* PQlibVersion() of the first that has it */

/* An authentication request: 'R', length, kind. */
#define REQUEST_LEN		9
#define KIND_OFFSET		5
#define LIBPQ_READS		(16 * 1024) /* at once, at the most */

#define KIND_OK			0
#define KIND_CLEAR_TEXT	3
#define KIND_MD5		5
#define KIND_SASL		10		/* and its two steps */
#define KIND_BIT(kind)	(1u << (kind))
#define SCRAM_KINDS		(KIND_BIT(KIND_SASL) | KIND_BIT(KIND_SASL + 1) | KIND_BIT(KIND_SASL + 2) | KIND_BIT(KIND_OK))

static const struct
{
	const char *require_auth;	/* NULL: anything */
	uint32		kinds;			/* the same, as requests */
	const char *sqlstate;
	const char *message;
}			auth_rules[] = {
	[AUTH_ANY] = {NULL},
	[AUTH_PASSWORD] = {
		"password,md5,scram-sha-256",
		SCRAM_KINDS | KIND_BIT(KIND_MD5) | KIND_BIT(KIND_CLEAR_TEXT),
		PASSWORD_NOT_ASKED, "a login was not asked for its password"
	},
	[AUTH_OURS] = {
		"scram-sha-256,none", SCRAM_KINDS,
		"28000", "the password was asked for in another way than SCRAM"
	},
};

StaticAssertDecl(lengthof(auth_rules) == AUTH_OURS + 1, "each rule has a row");

/* Whether libpq, which may be newer than its header, has require_auth. */
bool
auth_has_require(void)
{
	return PQlibVersion() >= LIBPQ_REQUIRE_AUTH;
}

/*
 * Makes a login one of that rule.  Of AUTH_OURS over a unix socket, whose other
 * end is known, libpq is to answer anything: that is what "hostaddr" decides.
 */
void
auth_restrict(Login *login, AuthRule rule)
{
	bool		answers_anything = rule == AUTH_OURS && login_value(login, "hostaddr") == NULL;

	login->auth = rule;
	if (!answers_anything && auth_has_require())
		login_add(login, "require_auth", auth_rules[rule].require_auth);
}

static bool
is_unix_socket(const PGconn *conn)
{
	return PQhost(conn)[0] == '/' || PQhost(conn)[0] == '@';
}

/*
 * Whether a connection that libpq has begun, and has sent nothing over, leads to a
 * process that may have the password.  Anyone can make a unix socket in /tmp: a
 * socket of this server is that of its own operating system user.
 */
bool
auth_peer_is_right(const Login *login, const PGconn *conn)
{
	uid_t		uid;
	gid_t		gid;

	return login->auth != AUTH_OURS || !is_unix_socket(conn) ||
		(getpeereid(PQsocket(conn), &uid, &gid) == 0 && uid == geteuid());
}

/*
 * Reads what libpq would read next, if that is an authentication request.  A
 * message that has not come whole must wait, or else its rest would be taken for
 * the begin of another.
 */
AuthStep
auth_step(const Login *login, PGconn *conn)
{
	char		bytes[LIBPQ_READS];
	uint32		len;
	uint32		kind;
	ssize_t		n;

	if (login->auth == AUTH_ANY || PQstatus(conn) != CONNECTION_AWAITING_RESPONSE || PQsslInUse(conn) ||
		(login->auth == AUTH_OURS && is_unix_socket(conn)))
		return AUTH_GO_ON;
	n = recv(PQsocket(conn), bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	/* The rest of a request whose begin libpq has read */
	if (n > 0 && bytes[0] != 'R' && bytes[0] != 'E' && PQconnectionUsedPassword(conn))
		return AUTH_DENIED;
	for (ssize_t at = 0; at < n && bytes[at] == 'R'; at += 1 + len)
	{
		if (n - at < REQUEST_LEN)
			return AUTH_INCOMPLETE;
		memcpy(&len, bytes + at + 1, sizeof(len));
		memcpy(&kind, bytes + at + KIND_OFFSET, sizeof(kind));
		len = pg_ntoh32(len);
		kind = pg_ntoh32(kind);
		if (kind >= 32 || (auth_rules[login->auth].kinds & KIND_BIT(kind)) == 0)
			return AUTH_DENIED;
		if (kind == KIND_OK)
			return at > 0 || auth_is_right(login, conn) ? AUTH_GO_ON : AUTH_DENIED;
		if (len < REQUEST_LEN - 1 || len >= sizeof(bytes))
			return AUTH_GO_ON;	/* libpq refuses it */
		if (n - at < 1 + (ssize_t) len)
			return AUTH_INCOMPLETE;
	}
	return AUTH_GO_ON;
}

/* Whether a login that libpq has been granted, or is about to be, is one by its rule. */
bool
auth_is_right(const Login *login, const PGconn *conn)
{
	return login->auth != AUTH_PASSWORD || PQconnectionUsedPassword(conn);
}

/* Whether libpq has given up a login because of its require_auth, which its message quotes. */
bool
auth_failed(const Login *login, const PGconn *conn)
{
	const char *require_auth = auth_rules[login->auth].require_auth;

	return require_auth != NULL && strstr(PQerrorMessage(conn), require_auth) != NULL;
}

/* Fills in that a login ends because it was asked for something else, or for nothing. */
void
auth_deny(const Login *login, ConnectResult *result)
{
	*result = (ConnectResult) {CONNECT_DENIED, CAUSE_NONE};
	strlcpy(result->sqlstate, auth_rules[login->auth].sqlstate, sizeof(result->sqlstate));
	strlcpy(result->message, auth_rules[login->auth].message, MESSAGE_LEN);
}

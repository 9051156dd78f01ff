/*
 * local_endpoint.c
 *		The ways in, in the order in which they are tried: the setting
 *		pool_exhaust.conninfo, the unix sockets, loopback TCP without and with
 *		TLS, as far as the server listens there.
 */
#include "postgres.h"

#include <netdb.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "load/auth.h"
#include "load/resolve.h"
#include "load/target/local_endpoint.h"
#include "observe/slots/census.h"

#define MUST_END_TURN_MS	100

/* For libpq an empty one is none, and another may be in the environment. */
#define NO_PASSWORD		"none"

static char *way_conninfo = NULL;

/*
 * What pool_exhaust.conninfo may not say.  The run brings its own role and
 * database, and session.c needs a login that keeps to one socket.
 */
static const struct
{
	const char *keyword;
	const char *value;			/* NULL = any value */
}			conninfo_forbidden[] = {
	{"user", NULL},
	{"password", NULL},
	{"passfile", NULL},
	{"service", NULL},
	{"dbname", NULL},
	{"gssencmode", NULL},
	{"target_session_attrs", "prefer-standby"},	/* connects twice */
	{"sslmode", "allow"},
	{"sslmode", "prefer"},
};

static bool
conninfo_is_forbidden(const PQconninfoOption *option)
{
	for (int i = 0; i < lengthof(conninfo_forbidden); i++)
		if (strcmp(option->keyword, conninfo_forbidden[i].keyword) == 0 &&
			(conninfo_forbidden[i].value == NULL ||
			 strcmp(option->val, conninfo_forbidden[i].value) == 0))
			return true;
	return strncmp(option->keyword, "host", 4) == 0 && strchr(option->val, ',') != NULL;
}

/* The value may hold a secret by mistake, so no message repeats it. */
static bool
conninfo_check(char **newval, void **extra, GucSource source)
{
	char	   *error = NULL;
	PQconninfoOption *options = PQconninfoParse(*newval, &error);
	bool		good = true;

	if (options == NULL)
	{
		GUC_check_errmsg("pool_exhaust.conninfo is not a connection string");
		PQfreemem(error);
		return false;
	}
	for (PQconninfoOption *o = options; o->keyword != NULL && good; o++)
	{
		if (o->val == NULL || !conninfo_is_forbidden(o))
			continue;
		GUC_check_errmsg("pool_exhaust.conninfo must not set \"%s\" like that", o->keyword);
		GUC_check_errdetail("A run logs in with a role, password and database of its own, to one host, with sslmode disable, require, verify-ca or verify-full.");
		good = false;
	}
	PQconninfoFree(options);
	return good;
}

void
local_endpoint_init(void)
{
	DefineCustomStringVariable("pool_exhaust.conninfo",
							   "How runs log in to this server.",
							   "Host, port and TLS parameters; empty means: try the unix socket, then loopback TCP.",
							   &way_conninfo, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   conninfo_check, NULL, NULL);
}

/*
 * libpq resolves a host name without being asked to return, so resolve it
 * before the loop turns.  Returns the addresses, a List of char *.
 */
static List *
host_resolve(const char *host)
{
	List	   *list = NIL;
	Addresses	addresses;
	int			rc = addresses_find(host, 0, &addresses);

	if (rc != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not resolve host \"%s\" of pool_exhaust.conninfo: %s",
						host, gai_strerror(rc))));
	for (int i = 0; i < addresses.n; i++)
		list = lappend(list, pstrdup(addresses.text[i]));
	return list;
}

/* What every way has in common; comes last, so that it overrides. */
typedef struct Credentials
{
	const char *user;
	const char *password;
	const char *database;
	const char *application_name;
} Credentials;

static void
local_endpoint_finish(LocalEndpoint *local, const Credentials *credentials)
{
	Login	   *login = &local->login;

	login_add(login, "dbname", credentials->database);
	login_add(login, "user", credentials->user);
	if (credentials->password != NULL)
		login_add(login, "password", credentials->password);
	login_add(login, "passfile", NO_PASSFILE);
	login_add(login, "gssencmode", "disable");
	login_add(login, "application_name", credentials->application_name);
	auth_restrict(login, AUTH_OURS);
}

/*
 * Adds a way in.  Where libpq has no require_auth, a password that goes over TLS is
 * kept to SCRAM by channel binding; a server that asks for none is for the same
 * way without it.
 */
static List *
locals_add(List *locals, LocalEndpoint *local)
{
	Login	   *login = &local->login;
	LocalEndpoint *bare;

	locals = lappend(locals, local);
	if (auth_has_require() || login_value(login, "password") == NULL || login_value(login, "hostaddr") == NULL ||
		strcmp(login_value(login, "sslmode"), "disable") == 0)
		return locals;
	bare = palloc(sizeof(LocalEndpoint));
	*bare = *local;
	login_add(login, "channel_binding", "require");
	login_add(&bare->login, "password", NO_PASSWORD);
	return lappend(locals, bare);
}

static LocalEndpoint *
local_endpoint_at(const char *sort, const char *keyword, const char *address, const char *sslmode,
				  const Credentials *credentials)
{
	LocalEndpoint *local = palloc0(sizeof(LocalEndpoint));

	local->name = psprintf("%s %s", sort, address);
	local->sort = sort;
	login_add(&local->login, keyword, address);
	login_add(&local->login, "port", psprintf("%d", PostPortNumber));
	login_add(&local->login, "sslmode", sslmode);
	local_endpoint_finish(local, credentials);
	return local;
}

static const char *
conninfo_value(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val;
	return NULL;
}

/* What the setting leaves open is as in the other ways. */
static LocalEndpoint *
local_endpoint_from_conninfo(const PQconninfoOption *options, char *address, const Credentials *credentials)
{
	LocalEndpoint *local = palloc0(sizeof(LocalEndpoint));

	local->name = "pool_exhaust.conninfo";
	local->sort = local->name;
	login_add(&local->login, "port", psprintf("%d", PostPortNumber));
	login_add(&local->login, "sslmode", "disable");
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
	{
		if (o->val == NULL)
			continue;
		if (local->login.params >= LOGIN_PARAMS - 10)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("pool_exhaust.conninfo sets too many parameters"),
					 errhint("Host, port and TLS parameters are enough.")));
		login_add(&local->login, pstrdup(o->keyword), pstrdup(o->val));
	}
	if (address != NULL)
		login_add(&local->login, "hostaddr", address);
	local_endpoint_finish(local, credentials);
	return local;
}

/* One way for each address that the host name leads to. */
static List *
local_endpoints_from_conninfo(List *locals, const Credentials *credentials)
{
	PQconninfoOption *options = PQconninfoParse(way_conninfo, NULL);
	const char *host;
	ListCell   *lc;

	if (options == NULL)
		elog(ERROR, "could not parse pool_exhaust.conninfo");
	host = conninfo_value(options, "host");
	if (host == NULL || host[0] == '/' || host[0] == '@' ||
		conninfo_value(options, "hostaddr") != NULL)
		locals = locals_add(locals, local_endpoint_from_conninfo(options, NULL, credentials));
	else
		foreach(lc, host_resolve(host))
			locals = locals_add(locals, local_endpoint_from_conninfo(options, lfirst(lc), credentials));
	PQconninfoFree(options);
	return locals;
}

static List *
local_endpoints_over_sockets(List *locals, const Credentials *credentials)
{
	List	   *directories;
	ListCell   *lc;

	if (!SplitDirectoriesString(pstrdup(Unix_socket_directories), ',', &directories))
		return locals;
	foreach(lc, directories)
		locals = lappend(locals, local_endpoint_at("unix socket", "host", lfirst(lc), "disable", credentials));
	return locals;
}

/* Is it one of the addresses of that host of listen_addresses, where "any" is all of its family? */
static bool
listens_at(const char *host, const char *address, const char *any)
{
	Addresses	addresses;

	if (strcmp(host, "*") == 0)
		return true;
	if (addresses_find(host, 0, &addresses) != 0)
		return false;
	for (int i = 0; i < addresses.n; i++)
		if (strcmp(addresses.text[i], address) == 0 || strcmp(addresses.text[i], any) == 0)
			return true;
	return false;
}

/*
 * Whether this server listens on that address, numeric, by listen_addresses.  If it
 * does not, another process may.
 */
bool
local_endpoint_listens(const char *address)
{
	const char *any = strchr(address, ':') != NULL ? "::" : "0.0.0.0";
	List	   *hosts;
	ListCell   *lc;

	if (ListenAddresses == NULL || !SplitGUCList(pstrdup(ListenAddresses), ',', &hosts))
		return false;
	foreach(lc, hosts)
		if (listens_at(lfirst(lc), address, any))
			return true;
	return false;
}

static List *
local_endpoints_over_tcp(List *locals, const Credentials *credentials, bool tls)
{
	static const char *const loopback[] = {"127.0.0.1", "::1"};

	for (int i = 0; i < lengthof(loopback); i++)
		if (local_endpoint_listens(loopback[i]))
			locals = locals_add(locals, local_endpoint_at(tls ? "tcp with TLS" : "tcp", "hostaddr", loopback[i],
														  tls ? "require" : "disable", credentials));
	return locals;
}

/*
 * Returns the ways in for this role, a List of LocalEndpoint in the current memory
 * context.  The strings passed in must live as long; "password" may be NULL.
 */
List *
local_endpoints_list(const char *user, const char *password, const char *database,
					 const char *application_name)
{
	Credentials credentials = {user, password, database, application_name};
	List	   *locals = NIL;

	if (way_conninfo != NULL && way_conninfo[0] != '\0')
		locals = local_endpoints_from_conninfo(locals, &credentials);
	locals = local_endpoints_over_sockets(locals, &credentials);
	locals = local_endpoints_over_tcp(locals, &credentials, false);
	return EnableSSL ? local_endpoints_over_tcp(locals, &credentials, true) : locals;
}

/* One attempt, alone in the loop. */
typedef struct Attempt
{
	Session		session;
	Oid			role;
	ConnectResult result;
	bool		answered;
} Attempt;

static void
attempt_connected(Session *session, const ConnectResult *result)
{
	Attempt    *attempt = session->owner;

	attempt->result = *result;
	attempt->answered = true;
	if (result->end == CONNECT_GRANTED && OidIsValid(attempt->role) &&
		census_role_sessions(attempt->role, NULL, 0) == 0)
	{
		attempt->result.end = CONNECT_BROKEN;
		strlcpy(attempt->result.message, "this address leads to another server", MESSAGE_LEN);
	}
}

/*
 * Connects, disconnects and returns how that went.  Waits at most timeout_ms.
 * If a role is given, its session must show up in this server.  must_end is
 * asked now and then whether to give up, as timed out.  The slot may be taken a
 * little longer than this function runs.
 */
ConnectResult
local_endpoint_try(Loop *loop, const LocalEndpoint *local, Oid role, int timeout_ms,
				   bool (*must_end) (void *arg), void *arg)
{
	static const SessionEvents events = {.connected = attempt_connected, .lost = session_close};
	Attempt    *attempt = palloc0(sizeof(Attempt));
	ConnectResult result;

	attempt->role = role;
	session_open(&attempt->session, loop, &local->login, timeout_ms, &events, attempt);
	attempt->result.end = CONNECT_TIMED_OUT;
	while (!attempt->answered && !must_end(arg))
		loop_turn(loop, MUST_END_TURN_MS);
	session_close(&attempt->session);
	while (attempt->session.state != SESSION_UNUSED)
		loop_turn(loop, 0);
	result = attempt->result;
	pfree(attempt);
	return result;
}

/*
 * foreign_server.c
 *		Foreign servers of the wrapper pool_exhaust, as targets.
 *
 * USAGE on the server is the right to aim at it; its options say what it is and
 * where, and the user mapping says how the user logs in there.  Secrets stay in
 * the catalog: a request names the server and the user, and the runner reads the
 * rest by itself.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "access/xact.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/text.h"
#include "event/machine.h"
#include "load/resolve.h"
#include "target/foreign.h"
#include "target/target.h"

#define WRAPPER "pool_exhaust"

PG_FUNCTION_INFO_V1(pool_exhaust_fdw_validator);

/* ---------- The validator ---------- */

/* "postgres, pgbouncer, http"; palloc'd. */
static char *
kinds_text(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < TARGET_KINDS; i++)
		if (target_types[i]->foreign)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", target_types[i]->name);
	return list.data;
}

/*
 * Returns the option of that name there: of a server of that kind, or of any kind
 * if "kind" is negative.  NULL if there is none.
 */
static const ForeignOption *
option_find(int kind, Oid catalog, const char *name)
{
	for (int i = 0; i < TARGET_KINDS; i++)
		for (const ForeignOption *option = target_types[i]->options; option != NULL && option->name != NULL; option++)
			if ((kind < 0 || i == kind) && option->catalog == catalog && strcmp(option->name, name) == 0)
				return option;
	return NULL;
}

/* Those that option_find() finds, by their names, each once; palloc'd. */
static char *
valid_options(int kind, Oid catalog)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < TARGET_KINDS; i++)
		for (const ForeignOption *option = target_types[i]->options; option != NULL && option->name != NULL; option++)
			if (option->catalog == catalog && option_find(kind, catalog, option->name) == option)
				appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", option->name);
	return list.data;
}

/* ERROR if such an option does not belong there, or has a wrong value. */
static void
option_validate(DefElem *def, int kind, Oid catalog, const char *of_kind)
{
	const ForeignOption *option = option_find(kind, catalog, def->defname);
	char	   *valid;

	if (option != NULL && option->superuser && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", option->name),
				 errhint("It names a file that the server reads for itself, so it is for superusers.")));
	if (option != NULL)
	{
		foreign_option_check(option, defGetString(def));
		return;
	}
	valid = valid_options(kind, catalog);
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"%s", def->defname, of_kind),
			 valid[0] != '\0'
			 ? errhint("Valid options in this context are: %s", valid)
			 : errhint("There are no valid options in this context.")));
}

/* Returns the kind that the options name, -1 if none does; ERROR if there is no such kind. */
static int
named_kind(List *options)
{
	const char *name = foreign_option_value(options, "kind");
	int			kind = name != NULL ? target_find_kind(name, true) : -1;

	if (name != NULL && kind < 0)
		foreign_option_is_wrong("kind", name, psprintf("Kinds are: %s.", kinds_text()));
	return kind;
}

/* ERROR unless there is a kind, and what that cannot do without. */
static TargetKind
require_kind(List *options)
{
	int			kind = named_kind(options);

	if (kind < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"kind\" is missing"),
				 errhint("Kinds are: %s.", kinds_text())));
	for (const ForeignOption *option = target_types[kind]->options; option->name != NULL; option++)
		if (option->required && foreign_option_value(options, option->name) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
					 errmsg("option \"%s\" is missing", option->name),
					 errhint("Valid options in this context are: %s",
							 valid_options(kind, ForeignServerRelationId))));
	return kind;
}

Datum
pool_exhaust_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	int			kind = -1;		/* a user mapping does not show of which it is */
	const char *of_kind = "";
	ListCell   *lc;

	if (catalog == ForeignServerRelationId)
	{
		kind = named_kind(options);
		of_kind = kind >= 0 ? psprintf(" of a server of kind %s", target_types[kind]->name) : " of a server";
	}
	foreach(lc, options)
		option_validate(lfirst_node(DefElem, lc), kind, catalog, of_kind);
	if (catalog == ForeignServerRelationId)
		require_kind(options);	/* last: what is missing may be there under a misspelt name */
	PG_RETURN_VOID();
}

/* ---------- Servers as targets ---------- */

static bool
has_mapping(Oid server, Oid user)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user), ObjectIdGetDatum(server)) ||
		SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(server));
}

static bool
is_required(List *mapping)
{
	const char *value = foreign_option_value(mapping, "password_required");
	bool		required = true;

	if (value != NULL)
		(void) parse_bool(value, &required);
	return required;
}

/* ERROR if an option of the mapping is not given, or empty. */
static void
require_password(List *mapping, const char *option, const char *detail)
{
	const char *value = foreign_option_value(mapping, option);

	if (value == NULL || value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required"),
				 errdetail("Non-superusers must provide a %s in the user mapping.", detail)));
}

/*
 * ERROR if the user has no mapping, or none with a password: the account that
 * the server runs as must not open doors for others.  That the password was
 * asked for shows when the runner logs in.  This is the rule of dblink and
 * postgres_fdw.  A web service may be open without one.
 */
static void
require_mapping(Oid server, Oid user, TargetKind kind)
{
	bool		optional = target_types[kind]->mapping_optional;
	List	   *options;

	if (!has_mapping(server, user))
	{
		const char *name = text_printable(GetForeignServer(server)->servername);

		if (optional)
			return;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no user mapping for you on foreign server \"%s\"", name),
				 errhint("CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (user '...', password '...').",
						 quote_identifier(name))));
	}
	options = GetUserMapping(user, server)->options;
	if (optional || superuser_arg(user) || !is_required(options))
		return;
	require_password(options, "password", "password");
	if (foreign_option_value(options, "console_user") != NULL)
		require_password(options, "console_password", "console_password for their console_user");
}

/*
 * Puts the foreign server of that name into the request, to be used as the current
 * user; false if there is none.  ERROR without USAGE on it, or without a mapping
 * that this user may use.
 */
bool
foreign_find(const char *name, RunRequest *request)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL || strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, WRAPPER) != 0)
		return false;
	if (compat_foreign_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, text_printable(name));
	request->target = require_kind(server->options);
	request->server = server->serverid;
	request->user = GetUserId();
	strlcpy(request->target_name, name, NAMEDATALEN);
	require_mapping(request->server, request->user, request->target);
	return true;
}

/*
 * ERROR if this machine has not what the sessions take, as far as it is known how many they are.
 * Drivers are elsewhere, and ask for themselves.
 */
static void
foreign_require_room(const RunRequest *request, const Options *options)
{
	ScaleNeed	need;

	if (target_types[request->target]->default_port == NULL || options->drivers.n > 0)
		return;
	(void) foreign_scale_need(request, options, foreign_endpoint(request), &need);
	machine_require(request_is_hold(request) ? "hold" : "run", &need);
}

/*
 * ERROR, with a hint, if the request cannot aim at its foreign server.  The caller
 * can check little; the runner checks the rest before anything is touched, and
 * what the options are worth there.
 */
void
foreign_require(const RunRequest *request, const Scenario *scenario, const Options *options)
{
	RunRequest	second = {.target = request->target};

	if (options->database[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"database\" is for databases of this server"),
				 errhint("Foreign server \"%s\" has a database in its own option \"dbname\".", request->target_name)));
	foreign_require_room(request, options);
	if (!target_needs_second(target_types[request->target], scenario))
		return;
	if (options->second[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("scenario \"%s\" needs two services, and \"%s\" is one", scenario->name, request->target_name),
				 errhint("Name a foreign server for the second, with another database or user, in option \"second\".")));
	if (!foreign_find(options->second, &second) || second.target != request->target || second.server == request->server)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"second\" must name another foreign server of kind %s, not \"%s\"",
						target_types[request->target]->name, options->second)));
}

/* ---------- What the runner reads ---------- */

/* What the caller was shown, and allowed, need not be what is committed, nor what is so by now. */
static void
require_unchanged(const ForeignServer *server, Oid user, TargetKind kind)
{
	if (require_kind(server->options) != kind)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign server \"%s\" is not of kind %s for others: it is being altered",
						server->servername, target_types[kind]->name)));
	if (compat_foreign_server_aclcheck(server->serverid, user, ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);
}

/* Where the server is and how the user logs in there, with strings in the current memory context. */
static void
endpoint_read(Endpoint *endpoint, const ForeignServer *server, Oid user, TargetKind kind)
{
	const TargetType *type = target_types[kind];
	List	   *mapping = has_mapping(server->serverid, user) ? GetUserMapping(user, server->serverid)->options : NIL;
	const char *port = foreign_option_value(server->options, "port");
	const char *capacity = foreign_option_value(server->options, "capacity");

	endpoint->name = pstrdup(server->servername);
	endpoint->superuser = superuser_arg(user);
	endpoint->password_required = !endpoint->superuser && is_required(mapping);
	if (type->default_port != NULL)
	{
		endpoint->hosts = foreign_hosts(foreign_option_value(server->options, "host"));
		endpoint->host = linitial(endpoint->hosts);
		endpoint->addresses = host_is_socket(endpoint->host) ? 0 : list_length(endpoint->hosts);
		endpoint->port = port != NULL ? port : type->default_port;
		endpoint->capacity = capacity != NULL ? atoi(capacity) : 0;
		foreign_login_read(&endpoint->login, endpoint, type->options, server->options, mapping);
	}
	if (type->read != NULL)
		type->read(endpoint, server->options, mapping);
}

/*
 * Returns where the server of the request is, for the caller's backend, where
 * foreign_find() has found it; all in the current memory context.
 */
Endpoint *
foreign_endpoint(const RunRequest *request)
{
	Endpoint   *endpoint = palloc0(sizeof(Endpoint));

	endpoint_read(endpoint, GetForeignServer(request->server), request->user, request->target);
	return endpoint;
}

/* Reads the server of that name, or of the request if that is NULL: see foreign_read(). */
static Endpoint *
server_read(Run *run, const char *name, TargetKind kind)
{
	Endpoint   *endpoint = MemoryContextAllocZero(run->context, sizeof(Endpoint));
	const RunRequest *request = &run->request;
	ForeignServer *server;

	StartTransactionCommand();
	MemoryContextSwitchTo(run->context);
	server = GetForeignServerExtended(name != NULL ? get_foreign_server_oid(name, false) : request->server, FSV_MISSING_OK);
	if (server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the foreign server is not there for others: it was dropped, or made in a transaction that has not been committed")));
	require_unchanged(server, request->user, kind);
	require_mapping(server->serverid, request->user, kind);
	endpoint_read(endpoint, server, request->user, kind);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
	return endpoint;
}

/*
 * Reads where the run's n-th party goes: the target, or a server of its own; returns
 * it, in the run's memory context.  Makes a transaction of its own; ERROR if the
 * server is gone.
 */
Endpoint *
foreign_read(Run *run, int n)
{
	return server_read(run, n > 0 ? run->options.second : NULL, run->request.target);
}

/* The same of another foreign server, of that kind. */
Endpoint *
foreign_read_other(Run *run, const char *name, TargetKind kind)
{
	return server_read(run, name, kind);
}

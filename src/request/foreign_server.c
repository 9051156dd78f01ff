/*
 * foreign_server.c
 *		Foreign servers of the wrapper pool_exhaust, as targets.
 *
 * USAGE on the server is the right to aim at it; its options say what it is and
 * where, and the mapping of the user who asks says who they are there.  Secrets
 * stay in the catalog: a plan names the server and the user, and the runner
 * reads the rest by itself.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "load/target/local_endpoint.h"
#include "request/foreign_server.h"
#include "target/target.h"

#define WRAPPER "pool_exhaust"

PG_FUNCTION_INFO_V1(pool_exhaust_fdw_validator);

#define LIBPQ_KINDS		((1 << TARGET_POSTGRES) | (1 << TARGET_PGBOUNCER))
#define ALL_KINDS		(LIBPQ_KINDS | (1 << TARGET_HTTP))

static void check_kind(const char *name, const char *value);
static void check_host(const char *name, const char *value);
static void check_port(const char *name, const char *value);
static void check_capacity(const char *name, const char *value);
static void check_sslmode(const char *name, const char *value);
static void check_url(const char *name, const char *value);
static void check_path(const char *name, const char *value);
static void check_required(const char *name, const char *value);

/* Every option, where it belongs, and of which kinds of servers. */
static const struct ForeignOption
{
	const char *name;
	Oid			catalog;
	int			kinds;			/* a set of 1 << TargetKind */
	bool		is_libpq;		/* goes to libpq as it stands */
	bool		superuser;		/* names a file of the server's own account */
	void		(*check) (const char *name, const char *value);
}			foreign_options[] = {
	{"kind", ForeignServerRelationId, ALL_KINDS, .check = check_kind},
	{"host", ForeignServerRelationId, LIBPQ_KINDS, true, .check = check_host},
	{"port", ForeignServerRelationId, LIBPQ_KINDS, true, .check = check_port},
	{"dbname", ForeignServerRelationId, LIBPQ_KINDS, true},
	{"options", ForeignServerRelationId, LIBPQ_KINDS, true},
	{"sslmode", ForeignServerRelationId, LIBPQ_KINDS, true, .check = check_sslmode},
	{"sslrootcert", ForeignServerRelationId, ALL_KINDS, true},
	{"sslcrl", ForeignServerRelationId, LIBPQ_KINDS, true},
	{"sslcert", ForeignServerRelationId, LIBPQ_KINDS, true, true},
	{"sslkey", ForeignServerRelationId, LIBPQ_KINDS, true, true},
	{"channel_binding", ForeignServerRelationId, LIBPQ_KINDS, true},
	{"capacity", ForeignServerRelationId, 1 << TARGET_POSTGRES, .check = check_capacity},
	{"console", ForeignServerRelationId, 1 << TARGET_PGBOUNCER},
	{"url", ForeignServerRelationId, 1 << TARGET_HTTP, .check = check_url},
	{"path", ForeignServerRelationId, 1 << TARGET_HTTP, .check = check_path},
	{"liveness_path", ForeignServerRelationId, 1 << TARGET_HTTP, .check = check_path},
	{"other_path", ForeignServerRelationId, 1 << TARGET_HTTP, .check = check_path},

	{"user", UserMappingRelationId, ALL_KINDS, true},
	{"password", UserMappingRelationId, ALL_KINDS, true},
	{"password_required", UserMappingRelationId, LIBPQ_KINDS, .check = check_required},
	{"console_user", UserMappingRelationId, 1 << TARGET_PGBOUNCER},
	{"console_password", UserMappingRelationId, 1 << TARGET_PGBOUNCER},
};

/* ---------- The validator ---------- */

pg_noreturn static void
option_is_wrong(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 errhint("%s", hint)));
}

/* Returns the kind of that name, -1 if there is none. */
static int
kind_find(const char *name)
{
	for (int kind = 0; kind < TARGET_KINDS; kind++)
		if (target_types[kind]->foreign && strcmp(target_types[kind]->name, name) == 0)
			return kind;
	return -1;
}

static void
check_kind(const char *name, const char *value)
{
	if (kind_find(value) < 0)
		option_is_wrong(name, value, "Kinds are: postgres, pgbouncer, http.");
}

static void
check_host(const char *name, const char *value)
{
	if (value[0] == '\0' || strchr(value, ',') != NULL)
		option_is_wrong(name, value, "Give one host name, address, or directory of a socket.");
}

static void
check_number(const char *name, const char *value, long max)
{
	char	   *end;
	long		number = strtol(value, &end, 10);

	if (*value == '\0' || *end != '\0' || number < 1 || number > max)
		option_is_wrong(name, value, psprintf("Whole numbers from 1 to %ld are possible.", max));
}

static void
check_port(const char *name, const char *value)
{
	check_number(name, value, 65535);
}

static void
check_capacity(const char *name, const char *value)
{
	check_number(name, value, MAX_BACKENDS);
}

/* The others may connect a second time, on another socket: see session.c. */
static void
check_sslmode(const char *name, const char *value)
{
	if (strcmp(value, "disable") != 0 && strcmp(value, "require") != 0 &&
		strcmp(value, "verify-ca") != 0 && strcmp(value, "verify-full") != 0)
		option_is_wrong(name, value, "Possible are: disable, require, verify-ca, verify-full.");
}

/* A password in it would be for all to read. */
static void
check_url(const char *name, const char *value)
{
	const char *rest = pg_strncasecmp(value, "http://", 7) == 0 ? value + 7
		: pg_strncasecmp(value, "https://", 8) == 0 ? value + 8 : "";

	if (*rest == '\0' || *rest == '/' || strpbrk(rest, "@?# \t\r\n") != NULL)
		option_is_wrong(name, strchr(value, '@') != NULL ? "..." : value,
						"Give http:// or https://, a host, and maybe a port and a prefix; user and password belong into the user mapping.");
}

static void
check_path(const char *name, const char *value)
{
	if (value[0] != '/' || strpbrk(value, "# \t\r\n") != NULL)
		option_is_wrong(name, value, "A path begins with a slash, and has no blanks.");
}

static void
check_required(const char *name, const char *value)
{
	bool		required;

	if (!parse_bool(value, &required))
		option_is_wrong(name, value, "Possible are: true, false.");
	if (!required && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("password_required=false is superuser-only"),
				 errhint("User mappings with the password_required option set to false may only be created or modified by the superuser.")));
}

static const char *
option_value(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, name) == 0)
			return defGetString(def);
	}
	return NULL;
}

static char *
valid_options(Oid catalog, int kinds)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(foreign_options); i++)
		if (foreign_options[i].catalog == catalog && (foreign_options[i].kinds & kinds) != 0)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", foreign_options[i].name);
	return list.data;
}

/* ERROR if such an option does not belong there, or has a wrong value. */
static void
option_validate(DefElem *def, Oid catalog, int kinds, const char *whose)
{
	for (int i = 0; i < lengthof(foreign_options); i++)
	{
		const struct ForeignOption *option = &foreign_options[i];

		if (option->catalog != catalog || (option->kinds & kinds) == 0 ||
			strcmp(option->name, def->defname) != 0)
			continue;
		if (option->superuser && !superuser())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"", option->name),
					 errhint("It names a file that the server reads for itself, so it is for superusers.")));
		if (option->check != NULL)
			option->check(option->name, defGetString(def));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"%s", def->defname, whose),
			 valid_options(catalog, kinds)[0] != '\0'
			 ? errhint("Valid options in this context are: %s", valid_options(catalog, kinds))
			 : errhint("There are no valid options in this context.")));
}

/* ERROR unless there is a kind, and what that cannot do without. */
static TargetKind
require_kind(List *options)
{
	const char *kind = option_value(options, "kind");
	const char *needed;

	if (kind == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"kind\" is missing"),
				 errhint("Kinds are: postgres, pgbouncer, http.")));
	check_kind("kind", kind);
	needed = kind_find(kind) == TARGET_HTTP ? "url" : "host";
	if (option_value(options, needed) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" is missing", needed),
				 errhint("Valid options in this context are: %s",
						 valid_options(ForeignServerRelationId, 1 << kind_find(kind)))));
	return kind_find(kind);
}

Datum
pool_exhaust_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	int			kinds = ALL_KINDS;
	const char *whose = "";
	ListCell   *lc;

	if (catalog == ForeignServerRelationId)
	{
		TargetKind	kind = require_kind(options);

		kinds = 1 << kind;
		whose = psprintf(" of a server of kind %s", target_types[kind]->name);
	}
	foreach(lc, options)
		option_validate(lfirst_node(DefElem, lc), catalog, kinds, whose);
	PG_RETURN_VOID();
}

/* ---------- Servers as targets ---------- */

/*
 * Puts the foreign server of that name into the plan, to be used as the current
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
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, name);
	request->target = require_kind(server->options);
	request->server = server->serverid;
	request->user = GetUserId();
	strlcpy(request->target_name, name, NAMEDATALEN);
	foreign_require_mapping(request->server, request->user, request->target);
	return true;
}

static bool
has_mapping(Oid server, Oid user)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user), ObjectIdGetDatum(server)) ||
		SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(server));
}

static bool
is_required(List *mapping)
{
	const char *value = option_value(mapping, "password_required");
	bool		required = true;

	if (value != NULL)
		(void) parse_bool(value, &required);
	return required;
}

/*
 * ERROR if the user has no mapping, or none with a password: the account that
 * the server runs as must not open doors for others.  That the password was
 * asked for shows when the runner logs in.  This is the rule of dblink and
 * postgres_fdw.  A web service may be open to everybody.
 */
void
foreign_require_mapping(Oid server, Oid user, TargetKind kind)
{
	List	   *options;

	if (!has_mapping(server, user))
	{
		if (kind == TARGET_HTTP)
			return;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no user mapping for you on foreign server \"%s\"",
						GetForeignServer(server)->servername),
				 errhint("CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (user '...', password '...').",
						 quote_identifier(GetForeignServer(server)->servername))));
	}
	options = GetUserMapping(user, server)->options;
	if (kind == TARGET_HTTP || superuser_arg(user) || !is_required(options))
		return;
	if (option_value(options, "password") == NULL || option_value(options, "password")[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required"),
				 errdetail("Non-superusers must provide a password in the user mapping.")));
	if (option_value(options, "console_user") != NULL &&
		(option_value(options, "console_password") == NULL || option_value(options, "console_password")[0] == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required"),
				 errdetail("Non-superusers must provide a console_password for their console_user in the user mapping.")));
}

/* ---------- What the runner reads ---------- */

static void
login_add_options(Login *login, List *options, Oid catalog)
{
	for (int i = 0; i < lengthof(foreign_options); i++)
	{
		const struct ForeignOption *option = &foreign_options[i];
		const char *value = option_value(options, option->name);

		if (option->catalog == catalog && option->is_libpq && value != NULL)
			login_add(login, option->name, value);
	}
}

/* Passwords go over TLS, except to this machine, unless the server says otherwise. */
static const char *
sslmode_default(const char *host)
{
	return host[0] == '/' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
		strncmp(host, "127.", 4) == 0 ? "disable" : "require";
}

static void
login_from(Login *login, List *server, List *mapping, const Endpoint *endpoint)
{
	login_add(login, "port", endpoint->port);
	login_add(login, "sslmode", sslmode_default(endpoint->host));
	login_add_options(login, server, ForeignServerRelationId);
	login_add_options(login, mapping, UserMappingRelationId);
	login_add(login, "passfile", NO_PASSFILE);
	login_add(login, "gssencmode", "disable");
}

static void
console_from(Login *console, List *server, List *mapping, const Endpoint *endpoint)
{
	const char *database = option_value(server, "console");
	const char *user = option_value(mapping, "console_user");
	const char *password = option_value(mapping, "console_password");

	login_from(console, server, mapping, endpoint);
	login_add(console, "dbname", database != NULL ? database : "pgbouncer");
	if (user != NULL)
	{
		login_add(console, "user", user);
		login_add(console, "password", password != NULL ? password : "");
	}
}

/* What is not given is the root, which need not be the page to ask for, or not there. */
static void
http_from(HttpTarget *http, List *server, List *mapping)
{
	const char *path = option_value(server, "path");

	*http = (HttpTarget) {
		.url = option_value(server, "url"),
		.path = path != NULL ? path : "/",
		.liveness_path = option_value(server, "liveness_path"),
		.other_path = option_value(server, "other_path"),
		.user = option_value(mapping, "user"),
		.password = option_value(mapping, "password"),
		.sslrootcert = option_value(server, "sslrootcert"),
	};
}

/* What the caller was shown, and allowed, need not be what is committed, nor what is so by now. */
static void
foreign_require_unchanged(const ForeignServer *server, Oid user, TargetKind kind)
{
	if (require_kind(server->options) != kind)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("foreign server \"%s\" is not of kind %s for others: it is being altered",
						server->servername, target_types[kind]->name)));
	if (compat_foreign_server_aclcheck(server->serverid, user, ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);
}

/*
 * Reads where the server is and who the user is there; the strings live in the
 * current memory context.  Needs a transaction; ERROR if it is gone.
 */
void
foreign_read(Oid server_id, Oid user, TargetKind kind, Endpoint *endpoint)
{
	ForeignServer *server = GetForeignServerExtended(server_id, FSV_MISSING_OK);
	List	   *mapping = has_mapping(server_id, user) ? GetUserMapping(user, server_id)->options : NIL;
	const char *capacity;
	const char *port;

	if (server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the foreign server is not there for others: it was dropped, or made in a transaction that has not been committed")));
	foreign_require_unchanged(server, user, kind);
	capacity = option_value(server->options, "capacity");
	port = option_value(server->options, "port");
	foreign_require_mapping(server_id, user, kind);
	endpoint->name = pstrdup(server->servername);
	endpoint->host = option_value(server->options, "host");
	endpoint->port = port != NULL ? port : kind == TARGET_PGBOUNCER ? "6432" : "5432";
	endpoint->capacity = capacity != NULL ? atoi(capacity) : 0;
	endpoint->password_required = !superuser_arg(user) && is_required(mapping);
	if (endpoint->host != NULL)
		login_from(&endpoint->login, server->options, mapping, endpoint);
	if (kind == TARGET_PGBOUNCER)
		console_from(&endpoint->console, server->options, mapping, endpoint);
	if (kind == TARGET_HTTP)
		http_from(&endpoint->http, server->options, mapping);
}

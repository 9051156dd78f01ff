/*
 * role.c
 *		The login roles of runs: made, retired, and swept when a run could not.
 *
 * The name belongs to the entry of the run table, so that pg_hba.conf can name it;
 * the comment distinguishes it from a role that was made by others, and has the
 * database of the run.
 *
 * A role cannot be dropped while anything depends on it: any owner of a table, in
 * any database, can grant it something.  So its end has steps.  First it cannot
 * log in any more; then it is dropped with all that it was given, in every
 * database that has any of that; and what still cannot be dropped gives its name
 * up, so that it is in no later run's way, and is tried again when the next run
 * begins and when the server starts.
 *
 * The commands are called as functions: a verifier reaches neither
 * pg_stat_statements nor a statement log, and no event trigger fires.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/dbcommands.h"
#include "commands/user.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "request/run_table.h"
#include "runner/role.h"
#include "runner/sweeper.h"
#include "shmem/shared.h"
#include "sql/statement.h"

#define ROLE_COMMENT	"login role of a pool_exhaust run, dropped at its end; database "
#define ROLE_LEFT		ROLE_PREFIX "left_" /* and the OID: could not be dropped */
#define ROLE_NAMES		"'^" ROLE_PREFIX "(left_)?[0-9]+$'"

/* Roles that are swept at once. */
#define SWEPT_MAX		64

static DefElem *
option(const char *name, void *value)
{
	return makeDefElem((char *) name, value, -1);
}

static List *
role_spec(const char *name)
{
	RoleSpec   *spec = makeNode(RoleSpec);

	spec->roletype = ROLESPEC_CSTRING;
	spec->rolename = pstrdup(name);
	spec->location = -1;
	return list_make1(spec);
}

/* CONNECT comes from PUBLIC almost everywhere; grant it only where it does not. */
static void
role_grant_connect(Oid role, const char *name, const char *database)
{
	if (compat_database_aclcheck(get_database_oid(database, false), role, ACL_CONNECT) != ACLCHECK_OK)
		statement_run(NULL, psprintf("GRANT CONNECT ON DATABASE %s TO %s",
									 quote_identifier(database), quote_identifier(name)),
					  SPI_OK_UTILITY, 0, NULL, NULL);
}

/*
 * Stories end statements, transactions and sessions themselves.  Settings of a role
 * come before those of database and server, and these come from a superuser, so no
 * other setting keeps a story from what it has to show.
 */
static void
role_settle(Oid role)
{
	static const char *const settings[][2] = {
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"transaction_timeout", "0"},	/* from 17 on */
		{"client_connection_check_interval", "0"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"default_transaction_isolation", "read committed"},
		{"exit_on_error", "off"},
	};

	for (int i = 0; i < lengthof(settings); i++)
	{
		VariableSetStmt *stmt = makeNode(VariableSetStmt);
		A_Const    *value = makeNode(A_Const);

		if (GetConfigOption(settings[i][0], true, false) == NULL)
			continue;
		value->val.sval.type = T_String;
		value->val.sval.sval = pstrdup(settings[i][1]);
		stmt->kind = VAR_SET_VALUE;
		stmt->name = pstrdup(settings[i][0]);
		stmt->args = list_make1(value);
		AlterSetting(InvalidOid, role, stmt);
		CommandCounterIncrement();
	}
}

/*
 * Makes the role and returns its OID; needs a transaction with SPI.  "limit" is its
 * CONNECTION LIMIT, negative: none.  "settled": no setting of server or database
 * ends its sessions.  ERROR if a role of that name is there.
 */
Oid
role_make(const char *name, const char *verifier, int limit, const char *valid_until, const char *database, bool settled)
{
	CreateRoleStmt *stmt = makeNode(CreateRoleStmt);
	Oid			role;

	if (OidIsValid(get_role_oid(name, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("role \"%s\" exists and was not made by pool_exhaust", name),
				 errhint("Rename it: runs use this name for their own login role.")));
	stmt->stmt_type = ROLESTMT_ROLE;
	stmt->role = pstrdup(name);
	stmt->options = list_make5(option("canlogin", makeBoolean(true)), option("inherit", makeBoolean(false)),
							   option("superuser", makeBoolean(false)),
							   option("password", makeString(pstrdup(verifier))),
							   option("validUntil", makeString(pstrdup(valid_until))));
	if (limit >= 0)
		stmt->options = lappend(stmt->options, option("connectionlimit", makeInteger(limit)));
	role = CreateRole(make_parsestate(NULL), stmt);
	CommandCounterIncrement();
	CreateSharedComments(role, AuthIdRelationId, psprintf("%s%u", ROLE_COMMENT, MyDatabaseId));
	role_grant_connect(role, name, database);
	if (settled)
		role_settle(role);
	return role;
}

/* After this no login as the role is granted any more. */
static void
role_disable(const char *name)
{
	AlterRoleStmt *stmt = makeNode(AlterRoleStmt);

	stmt->role = linitial(role_spec(name));
	stmt->options = list_make2(option("canlogin", makeBoolean(false)), option("password", NULL));
	(void) AlterRole(make_parsestate(NULL), stmt);
}

/*
 * Drops what the role owns and was granted in this database.  Needs a transaction;
 * does nothing if the role is gone.
 */
void
role_disown(Oid role)
{
	DropOwnedStmt *stmt = makeNode(DropOwnedStmt);
	const char *name = GetUserNameFromId(role, true);

	if (name == NULL)
		return;
	stmt->roles = role_spec(name);
	stmt->behavior = DROP_CASCADE;
	DropOwnedObjects(stmt);
}

static void
role_drop(Oid role)
{
	DropRoleStmt *stmt = makeNode(DropRoleStmt);

	stmt->roles = role_spec(GetUserNameFromId(role, false));
	DropRole(stmt);
}

/*
 * Returns the databases, but for this one, in which something depends on the
 * role: a List of Oid.  Needs a transaction with SPI.
 */
static List *
role_databases(Oid role)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(role)};
	List	   *databases = NIL;

	statement_run(NULL,
				  "SELECT d.oid FROM pg_catalog.pg_database d WHERE EXISTS "
				  "(SELECT FROM pg_catalog.pg_shdepend s WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass "
				  "AND s.refobjid = $1 AND s.dbid = d.oid)",
				  SPI_OK_SELECT, lengthof(types), types, values);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Oid			database = (Oid) strtoul(statement_text(i, 1), NULL, 10);

		if (database != MyDatabaseId)
			databases = lappend_oid(databases, database);
	}
	return databases;
}

/* In each other database that has something of the role: see sweeper_run(). */
static void
role_disown_elsewhere(Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *databases;
	ListCell   *lc;

	transaction_begin();
	databases = role_databases(role);
	MemoryContextSwitchTo(context);
	databases = list_copy(databases);
	transaction_commit();
	MemoryContextSwitchTo(context);
	foreach(lc, databases)
		sweeper_run(lfirst_oid(lc), role);
}

/* The name is free for the next run. */
static void
role_set_aside(Oid role)
{
	const char *name;

	transaction_begin();
	name = GetUserNameFromId(role, true);
	if (name != NULL && strncmp(name, ROLE_LEFT, strlen(ROLE_LEFT)) != 0)
		(void) RenameRole(name, psprintf(ROLE_LEFT "%u", role));
	transaction_commit();
}

/*
 * Disables and drops the role, in transactions of its own: no transaction may be
 * under way.  Returns NULL once it is gone, or else what keeps it, palloc'd in the
 * current memory context; it has lost its login and its name then.
 */
char *
role_retire(Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile held = NULL;

	PG_TRY();
	{
		const char *name;

		transaction_begin();
		name = GetUserNameFromId(role, true);
		if (name != NULL)
			role_disable(name);
		transaction_commit();
		MemoryContextSwitchTo(context);
		if (name != NULL)
		{
			role_disown_elsewhere(role);
			transaction_begin();
			role_disown(role);
			transaction_commit();	/* it stays so, if something elsewhere keeps the role */
			transaction_begin();
			role_drop(role);
			transaction_commit();
		}
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(context, LOG);

		held = psprintf("%s %s%s%s", unpack_sql_state(error->sqlerrcode), error->message,
						error->detail != NULL ? ": " : "", error->detail != NULL ? error->detail : "");
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	if (held != NULL)
		role_set_aside(role);
	MemoryContextSwitchTo(context);
	return held;
}

/* Is it that of a run that is under way?  Its number names the entry, or else the entry has its OID. */
static bool
role_is_live(Oid role, const char *name, int place)
{
	const char *digits = name + strlen(ROLE_PREFIX);
	int			number = isdigit((unsigned char) *digits) ? atoi(digits) : 0;
	bool		live = false;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX && !live; i++)
		if (i != place && run_entry_is_busy(&shared->runs[i]))
		{
			live = number > 0 && ROLE_ENTRY(number) == i;
			for (int n = 0; n < RUN_PARTIES_MAX; n++)
				live |= shared->runs[i].roles[n] == role;
		}
	LWLockRelease(shared->lock);
	return live;
}

/*
 * Retires the roles that runs left behind: of this database, of one that is no
 * more or is not swept, with something in this database, and all of that place in the run table,
 * which is the caller's; negative: of none.  No transaction may be under way.
 */
void
roles_sweep(int place)
{
	Oid			types[] = {TEXTOID, OIDOID, INT4OID};
	Datum		values[] = {
		CStringGetTextDatum(ROLE_COMMENT),
		ObjectIdGetDatum(MyDatabaseId),
		Int32GetDatum(place),
	};
	Oid			roles[SWEPT_MAX];
	int			nroles = 0;
	MemoryContext context = CurrentMemoryContext;

	transaction_begin();
	statement_run(NULL,
				  "SELECT a.oid, rolname FROM pg_catalog.pg_authid a, "
				  "pg_catalog.shobj_description(a.oid, 'pg_authid') AS c, "
				  "pg_catalog.substr(c, pg_catalog.length($1) + 1) AS database "
				  "WHERE rolname ~ " ROLE_NAMES " AND pg_catalog.starts_with(c, $1) "
				  "AND (rolname = ANY (ARRAY(SELECT '" ROLE_PREFIX "' || n * " CppAsString2(RUNS_MAX) " + $3 + 1 "
				  "FROM pg_catalog.generate_series(0, " CppAsString2(RUN_PARTIES_MAX) " - 1) AS n WHERE $3 >= 0)) "
				  "OR database = $2::text "
				  "OR NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.oid::text = database AND " SWEPT_DATABASE_SQL ") "
				  "OR EXISTS (SELECT FROM pg_catalog.pg_shdepend s WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass "
				  "AND s.refobjid = a.oid AND s.dbid = $2))",
				  SPI_OK_SELECT, lengthof(types), types, values);
	for (uint64 i = 0; i < SPI_processed && nroles < SWEPT_MAX; i++)
	{
		Oid			role = (Oid) strtoul(statement_text(i, 1), NULL, 10);

		if (!role_is_live(role, statement_text(i, 2), place))
			roles[nroles++] = role;
	}
	transaction_commit();
	MemoryContextSwitchTo(context);
	for (int i = 0; i < nroles; i++)
		(void) role_retire(roles[i]);
}

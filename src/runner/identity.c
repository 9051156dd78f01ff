/*
 * identity.c
 *		The login role of a run: made, used and dropped by the run.
 *
 * A run never uses an existing role.  Its role has no privilege but
 * CONNECT, a random password that only the runner knows, and an end of its
 * own (VALID UNTIL).  The name belongs to the place in shared memory, so that
 * pg_hba.conf can name it; the comment distinguishes it from a role that was made
 * by others.
 *
 * The role is made by calling CreateRole(), not by SQL, so that the verifier
 * reaches neither pg_stat_statements nor a statement log.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/dbcommands.h"
#include "commands/user.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "load/failure.h"
#include "load/target/local_endpoint.h"
#include "request/extension.h"
#include "request/run_table.h"
#include "runner/identity.h"
#include "scenario/hold.h"

#define ROLE_COMMENT	"login role of a pool_exhaust run, dropped at its end; database "
#define PASSWORD_BYTES	32
#define ENDPOINT_TIMEOUT_MS	5000
#define GRACE_MS		60000	/* after the run's deadline */

/*
 * Stretching a password makes a weak one dearer to guess.  This one is random
 * and lives for a run, so one round is as safe as 4096, and saves a client
 * milliseconds of SHA-256 a login.
 */
#define SCRAM_ROUNDS	1

static void
random_bytes(void *buf, size_t len)
{
	if (!pg_strong_random(buf, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes for a password")));
}

static char *
password_make(void)
{
	char		raw[PASSWORD_BYTES];
	char	   *text = palloc0(2 * PASSWORD_BYTES + 1);

	random_bytes(raw, sizeof(raw));
	hex_encode(raw, sizeof(raw), text);
	explicit_bzero(raw, sizeof(raw));
	return text;
}

static char *
verifier_make(const char *password)
{
	uint8		salt[SCRAM_DEFAULT_SALT_LEN];
	const char *error = NULL;
	char	   *verifier;

	random_bytes(salt, sizeof(salt));
	verifier = compat_scram_secret(salt, sizeof(salt), SCRAM_ROUNDS, password, &error);
	if (verifier == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a SCRAM verifier: %s", error)));
	return verifier;
}

static void
role_drop(const char *name)
{
	const char *quoted = quote_identifier(name);

	spi_run(psprintf("DROP OWNED BY %s; DROP ROLE %s", quoted, quoted), SPI_OK_UTILITY, 0, NULL, NULL);
}

/* Is the entry that this role belongs to that of a run that is under way? */
static bool
run_entry_is_live(int place)
{
	bool		busy;

	LWLockAcquire(shared->lock, LW_SHARED);
	busy = run_entry_is_busy(&shared->runs[place]);
	LWLockRelease(shared->lock);
	return busy;
}

/*
 * Drops the roles that crashed runs of this database, or of one that is no
 * more, left behind; and the one of that name, whatever database it was for,
 * if a name is given.  Needs a transaction with SPI.
 */
void
identity_sweep(const char *name)
{
	Oid			types[] = {TEXTOID, TEXTOID, OIDOID};
	Datum		values[] = {
		CStringGetTextDatum(ROLE_COMMENT),
		CStringGetTextDatum(name != NULL ? name : ""),
		ObjectIdGetDatum(MyDatabaseId),
	};
	char	  **names;
	uint64		found;
	bool		live[RUNS_MAX];

	/* A run that ends meanwhile drops its role itself. */
	for (int i = 0; i < RUNS_MAX; i++)
		live[i] = run_entry_is_live(i);
	spi_run("SELECT rolname FROM pg_catalog.pg_authid a, "
			"pg_catalog.shobj_description(a.oid, 'pg_authid') AS c, "
			"pg_catalog.substr(c, pg_catalog.length($1) + 1) AS database "
			"WHERE rolname ~ '^" ROLE_PREFIX "[0-9]+$' AND pg_catalog.starts_with(c, $1) "
			"AND (rolname = $2 OR database = $3::text OR NOT EXISTS "
			"(SELECT FROM pg_catalog.pg_database d WHERE d.oid::text = database))",
			SPI_OK_SELECT, lengthof(types), types, values);
	found = SPI_processed;
	names = palloc(sizeof(char *) * Max(found, 1));
	for (uint64 i = 0; i < found; i++)
		names[i] = spi_text(i, 1);
	for (uint64 i = 0; i < found; i++)
	{
		int			number = atoi(names[i] + strlen(ROLE_PREFIX));
		bool		known = number >= 1 && number <= RUNS_MAX * RUN_PARTIES_MAX;
		int			place = known ? ROLE_ENTRY(number) : -1;

		if ((name != NULL && strcmp(names[i], name) == 0) ||
			!known || !(live[place] || run_entry_is_live(place)))
			role_drop(names[i]);
	}
}

/*
 * Returns the databases that the comments of roles of runs name, each once: a
 * List of Oid.  Needs a transaction with SPI.
 */
List *
identity_databases(void)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(ROLE_COMMENT)};
	List	   *databases = NIL;

	spi_run("SELECT DISTINCT d.oid FROM pg_catalog.pg_authid a, pg_catalog.pg_database d "
			"WHERE rolname ~ '^" ROLE_PREFIX "[0-9]+$' AND datallowconn "
			"AND pg_catalog.shobj_description(a.oid, 'pg_authid') = $1 || d.oid::text",
			SPI_OK_SELECT, lengthof(types), types, values);
	for (uint64 i = 0; i < SPI_processed; i++)
		databases = lappend_oid(databases, (Oid) strtoul(spi_text(i, 1), NULL, 10));
	return databases;
}

static DefElem *
flag(const char *name, bool value)
{
	return makeDefElem((char *) name, (Node *) makeBoolean(value), -1);
}

static Oid
role_create(const char *name, const char *password, int limit, const char *valid_until)
{
	CreateRoleStmt *stmt = makeNode(CreateRoleStmt);

	stmt->stmt_type = ROLESTMT_ROLE;
	stmt->role = pstrdup(name);
	stmt->options = list_make5(flag("canlogin", true), flag("inherit", false),
							   flag("superuser", false),
							   makeDefElem("password", (Node *) makeString(verifier_make(password)), -1),
							   makeDefElem("validUntil", (Node *) makeString(pstrdup(valid_until)), -1));
	if (limit >= 0)
		stmt->options = lappend(stmt->options,
								makeDefElem("connectionlimit", (Node *) makeInteger(limit), -1));
	return CreateRole(make_parsestate(NULL), stmt);
}

/* CONNECT comes from PUBLIC almost everywhere; grant it only where it does not. */
static void
role_grant_connect(Oid role, const char *name, const char *database)
{
	if (compat_database_aclcheck(get_database_oid(database, false), role, ACL_CONNECT) != ACLCHECK_OK)
		spi_run(psprintf("GRANT CONNECT ON DATABASE %s TO %s",
						 quote_identifier(database), quote_identifier(name)),
				SPI_OK_UTILITY, 0, NULL, NULL);
}

/* The CONNECTION LIMIT of a service's role; -1 is none. */
static int
role_limit(const Run *run, int n)
{
	const Options *options = &run->options;

	if (!run->target->role_limit || run_fault(run, FAULT_NO_LIMIT) ||
		n != run->scenario->limited)
		return -1;
	return options->role_limit > 0 ? (int) options->role_limit : -1;
}

static char *
password_and_role_create(Run *run, int place, int n)
{
	RunParty   *party = &run->parties[n];
	MemoryContext context = CurrentMemoryContext;
	char	   *password = password_make();
	const Options *options = &run->options;
	TimestampTz end = GetCurrentTimestamp() +
		((TimestampTz) options->timeout_ms + GRACE_MS) * 1000;
	Oid			role;

	snprintf(party->role_name, NAMEDATALEN, ROLE_PREFIX "%d", ROLE_NUMBER(place, n));
	transaction_begin();
	identity_sweep(party->role_name);
	if (OidIsValid(get_role_oid(party->role_name, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("role \"%s\" exists and was not made by pool_exhaust", party->role_name),
				 errhint("Rename it: runs use this name for their own login role.")));
	role = role_create(party->role_name, password, role_limit(run, n), timestamptz_to_str(end));
	CommandCounterIncrement();
	CreateSharedComments(role, AuthIdRelationId, psprintf("%s%u", ROLE_COMMENT, MyDatabaseId));
	role_grant_connect(role, party->role_name, run->database);
	transaction_commit();
	party->role = role;
	MemoryContextSwitchTo(context);
	return password;
}

/* Returns the line of pg_hba.conf that would admit the run's role, for the reason, palloc'd. */
static char *
hba_advice(const Run *run, const RunParty *party)
{
	bool		tcp = local_endpoint_listens("127.0.0.1");

	return psprintf("; put this line above the others in pg_hba.conf and reload: "
					"%s \"%s\" %s %sscram-sha-256",
					tcp ? "host" : "local", run->database, party->role_name,
					tcp ? "127.0.0.1/32 " : "");
}

/*
 * Tries the local endpoints in their order, and keeps the first that grants a login.
 * Ends the run as invalid if none does.
 */
static void
identity_find_endpoint(Run *run, const RunParty *party, const char *password)
{
	StringInfoData tried;
	bool		denied = false;
	ListCell   *lc;

	initStringInfo(&tried);
	foreach(lc, local_endpoints_list(party->role_name, password, run->database, RUN_APPLICATION_NAME))
	{
		LocalEndpoint *local = lfirst(lc);
		ConnectResult result = local_endpoint_try(&run->loop, local, party->role, ENDPOINT_TIMEOUT_MS,
												  run_must_end, run);

		run_end_if_must(run);
		if (result.end == CONNECT_GRANTED)
		{
			run->login_endpoint = local->name;
			*party->login = local->login;
			return;
		}
		if (result.end == CONNECT_REFUSED && request_is_hold(&run->request))
			hold_refused(run, result.cause, result.sqlstate, 0);
		if (result.end == CONNECT_REFUSED)
			run_end(run, VERDICT_INVALID, "no connection is left to begin with: %s %s, %s",
					result.sqlstate, cause_kinds[result.cause].name, result.message);
		denied |= strncmp(result.sqlstate, "28", 2) == 0;
		appendStringInfo(&tried, "%s%s: %s", tried.len > 0 ? "; " : "", local->name,
						 connect_failure_text(&result));
	}
	run->error_code = ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	run_end(run, VERDICT_INVALID, "the run's role could not log in%s (tried %s)",
			denied ? hba_advice(run, party) : "", tried.data);
}

/*
 * Makes the role of the run's n-th party and finds the endpoint that it can log in
 * over: fills in its login, with strings in the current memory context.  ERROR if
 * the role cannot be made; ends the run as invalid if it cannot log in.
 */
void
identity_create(Run *run, int place, int n)
{
	char	   *password = password_and_role_create(run, place, n);

	identity_find_endpoint(run, &run->parties[n], password);
}

/* Drops the run's roles, those that were made.  ERROR if that cannot be done. */
void
identity_drop(Run *run)
{
	for (int i = 0; i < RUN_PARTIES_MAX; i++)
	{
		RunParty   *party = &run->parties[i];

		if (!OidIsValid(party->role))
			continue;
		transaction_begin();
		role_drop(party->role_name);
		transaction_commit();
		party->role = InvalidOid;
	}
}

/*
 * connect.c
 *		A background worker's connection to a database.
 *
 * A worker runs as the bootstrap superuser, in databases of others.  What ALTER
 * DATABASE and ALTER ROLE have set there must not reach it: exit_on_error would
 * end a run without its clean-up, session_authorization would make it another
 * role.  It goes by the settings of the server, and by some of its own.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc_tables.h"

#include "base/compat.h"
#include "sql/connect.h"

/*
 * Settings of databases and roles come when a process connects, and give way to
 * what has been set from a source of more weight by then: so all are set to what
 * they are.  The encoding is that of the database.
 */
static void
settings_pin(void)
{
	int			n;
	struct config_generic **variables = compat_guc_variables(&n);

	for (int i = 0; i < n; i++)
	{
		const char *name = variables[i]->name;
		const char *value;

		if (variables[i]->context < PGC_SU_BACKEND || (variables[i]->flags & GUC_NO_SHOW_ALL) != 0 ||
			strcmp(name, "client_encoding") == 0)
			continue;
		value = GetConfigOption(name, true, false);
		if (value != NULL)
			(void) set_config_option(name, value, PGC_POSTMASTER, PGC_S_OVERRIDE, GUC_ACTION_SET,
									 true, DEBUG1, false);
	}
}

/* Of our own, for the transactions of workers. */
static void
settings_set(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"lock_timeout", "5s"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"transaction_timeout", "0"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"synchronous_commit", "local"},
		{"session_replication_role", "replica"},	/* no trigger, rule or event trigger fires */
		{"exit_on_error", "off"},
		{"lc_messages", "C"},	/* session.c reads what libpq writes */
	};

	for (int i = 0; i < lengthof(settings); i++)
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Connects to the database of that name, or of that OID if the name is NULL, as the
 * bootstrap superuser; once in the life of a worker.  "flags" as those of
 * BackgroundWorkerInitializeConnection().  FATAL if the database is not there.
 */
void
worker_connect(Oid database, const char *name, uint32 flags)
{
	settings_pin();
	if (name != NULL)
		BackgroundWorkerInitializeConnection(name, NULL, flags);
	else
		BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, flags);
	settings_set();

	/* These two can be set for a database, and cannot be pinned before. */
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
	SetCurrentRoleId(InvalidOid, false);
}

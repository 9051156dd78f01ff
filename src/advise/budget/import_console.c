/*
 * import_console.c
 *		The limits of a PgBouncer, from its console: the document is the name of a
 *		foreign server that has one.
 *
 * The console shows what is in force, wherever that was set.  Rows are those that the
 * pgbouncer.ini would declare, and in [pgbouncer] also what nothing sets; what a
 * database or user has of that is left out, and so is what cannot be called so here: names
 * are given by clients of the pooler, too.  Nothing that the console says is trusted.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "advise/budget/import.h"
#include "base/text.h"
#include "target/foreign.h"

#define SHOWN_MAX		60		/* bytes of a value in an ERROR */

/* The database that is the console itself; no other may be called so. */
#define CONSOLE_DATABASE "pgbouncer"

/* The questions, in the order in which they are asked. */
enum
{
	SHOW_CONFIG,
	SHOW_DATABASES,
	SHOW_USERS,
	SHOW_PEERS
};

/* What PgBouncer says to a command that its version does not have. */
static bool
is_invalid_command(const QueryResult *result)
{
	static const char said[] = "invalid command '";

	return strcmp(result->sqlstate, "08P01") == 0 && strncmp(result->message, said, strlen(said)) == 0;
}

static const Question questions[] = {
	[SHOW_CONFIG] = {"SHOW CONFIG", "SHOW CONFIG: ", true, foreign_console_keep},
	[SHOW_DATABASES] = {"SHOW DATABASES", "SHOW DATABASES: ", true, foreign_console_keep},
	[SHOW_USERS] = {"SHOW USERS", "SHOW USERS: ", true, foreign_console_keep},
	[SHOW_PEERS] = {"SHOW PEERS", "SHOW PEERS: ", true, foreign_console_keep, is_invalid_command},	/* since 1.19 */
	{NULL}
};

/* A column that shows a setting; versions differ in which they have. */
typedef struct ShownColumn
{
	const char *name;
	PoolerSetting setting;
	bool		own;			/* empty where it is not set; of others it is what is in force */
} ShownColumn;

static const ShownColumn database_columns[] = {
	{"pool_size", SETTING_POOL_SIZE},
	{"min_pool_size", SETTING_MIN_POOL_SIZE},
	{"reserve_pool", SETTING_RESERVE},	/* until 1.23 */
	{"reserve_pool_size", SETTING_RESERVE},
	{"pool_mode", SETTING_POOL_MODE, .own = true},
	{"max_connections", SETTING_DATABASE_CONNECTIONS},
	{"max_client_connections", SETTING_DATABASE_CLIENTS},
	{NULL}
};

static const ShownColumn user_columns[] = {
	{"pool_size", SETTING_POOL_SIZE, .own = true},
	{"reserve_pool_size", SETTING_RESERVE, .own = true},
	{"pool_mode", SETTING_POOL_MODE, .own = true},
	{"max_user_connections", SETTING_USER_CONNECTIONS},
	{"max_user_client_connections", SETTING_USER_CLIENTS},
	{NULL}
};

/* What no PgBouncer goes without. */
static const PoolerSetting always_set[] = {SETTING_POOL_MODE, SETTING_CLIENTS, SETTING_POOL_SIZE};

typedef struct Reading
{
	Import	   *import;
	const char *server;
	const char *asked;			/* "SHOW CONFIG" */
	bool		has[POOLER_SETTINGS];	/* in [pgbouncer] ... */
	double		values[POOLER_SETTINGS];	/* ... and what */
	int			nrows;			/* databases and users ... */
	int			left_out;		/* ... and those of them that are, for their names */
} Reading;

/* ERROR: that is not what PgBouncer says. */
pg_noreturn static void
console_error(const Reading *reading, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("%s on the console of %s: %s", reading->asked, text_printable(reading->server), what),
			 errhint("%s", hint)));
}

static const char *
shown(const char *text)
{
	return text_printable(text_cut(text, SHOWN_MAX));
}

static void
require_column(const Reading *reading, const PGresult *rows, const char *column)
{
	if (PQfnumber(rows, column) < 0)
		console_error(reading, psprintf("there is no column \"%s\"", column),
					  "It must be the console of a PgBouncer: see host, port and console of the foreign server.");
}

/* Can it be a name here, and be shown as it is? */
static bool
is_name(const char *text)
{
	return text[0] != '\0' && strlen(text) < NAMEDATALEN && strcmp(text_printable(text), text) == 0;
}

/* Adds the setting, unless that is what [pgbouncer] has for all; false if it is that of what can have no such name. */
static bool
add_setting(Reading *reading, PoolerSection section, const char *name, const ShownColumn *column, const char *text)
{
	PoolerSetting setting = column->setting;
	const char *setting_name = pooler_setting_name(section, setting);
	const char *value = text + strspn(text, " ");
	double		number;
	const char *wanted = pooler_setting_read(setting, value, &number);

	if (wanted != NULL)
		console_error(reading, psprintf("%s is \"%s\"", column->name, shown(text)), psprintf("It must be %s.", wanted));
	if (section == SECTION_PGBOUNCER)
	{
		reading->has[setting] = true;
		reading->values[setting] = number;
	}
	else if (!column->own && reading->has[setting] && reading->values[setting] == number)
		return true;
	else if (!is_name(name))
		return false;
	import_setting(reading->import, section, name, setting_name, setting == SETTING_POOL_MODE ? value : psprintf("%.15g", number));
	return true;
}

static void
read_config(Reading *reading, const PGresult *rows)
{
	require_column(reading, rows, "key");
	require_column(reading, rows, "value");
	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *key = answer_value(rows, i, "key");
		int			setting = pooler_setting_find(SECTION_PGBOUNCER, key);
		ShownColumn column = {key, setting};

		CHECK_FOR_INTERRUPTS();
		if (setting >= 0)
			(void) add_setting(reading, SECTION_PGBOUNCER, "", &column, answer_value(rows, i, "value"));
	}
	for (int i = 0; i < lengthof(always_set); i++)
		if (!reading->has[always_set[i]])
			console_error(reading, psprintf("there is no %s", pooler_setting_name(SECTION_PGBOUNCER, always_set[i])),
						  "It must be the console of a PgBouncer: see host, port and console of the foreign server.");
}

/* Adds what a row has in these columns; it is left out if there is something, and no name for that. */
static void
read_columns(Reading *reading, PoolerSection section, const char *name, const ShownColumn *columns, const PGresult *rows, int row)
{
	for (const ShownColumn *column = columns; column->name != NULL; column++)
	{
		const char *text = answer_value(rows, row, column->name);

		if (text[0] != '\0' && !add_setting(reading, section, name, column, text))
		{
			reading->left_out++;
			return;
		}
	}
}

/* What it is on the server: as in the file, where a database has the same name there unless another is set. */
static void
read_database(Reading *reading, const PGresult *rows, int row)
{
	const char *name = answer_value(rows, row, "name");
	const char *dbname = answer_value(rows, row, "database");
	const char *user = answer_value(rows, row, "force_user");

	if (strcmp(name, CONSOLE_DATABASE) == 0)
		return;
	if (!is_name(name) || !is_name(dbname) || (user[0] != '\0' && !is_name(user)))
	{
		reading->left_out++;
		return;
	}
	import_setting(reading->import, SECTION_DATABASES, name, SETTING_DBNAME, strcmp(dbname, name) == 0 ? "" : dbname);
	if (user[0] != '\0')
		import_setting(reading->import, SECTION_DATABASES, name, SETTING_USER, user);
	read_columns(reading, SECTION_DATABASES, name, database_columns, rows, row);
}

static void
read_databases(Reading *reading, const PGresult *rows)
{
	require_column(reading, rows, "name");
	require_column(reading, rows, "database");
	require_column(reading, rows, "pool_size");
	reading->nrows += PQntuples(rows);
	for (int i = 0; i < PQntuples(rows); i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_database(reading, rows, i);
	}
}

/* All that it knows, of which most have nothing of their own. */
static void
read_users(Reading *reading, const PGresult *rows)
{
	require_column(reading, rows, "name");
	reading->nrows += PQntuples(rows);
	for (int i = 0; i < PQntuples(rows); i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_columns(reading, SECTION_USERS, answer_value(rows, i, "name"), user_columns, rows, i);
	}
}

/* Each is one of the processes that share the port. */
static void
read_peers(Reading *reading, const PGresult *rows)
{
	ShownColumn column = {"the number of peers", SETTING_PROCESSES};

	require_column(reading, rows, "peer_id");
	if (PQntuples(rows) > 1)
		(void) add_setting(reading, SECTION_PGBOUNCER, "", &column, psprintf("%d", PQntuples(rows)));
}

/* ConsoleReader */
static void
console_read(void *arg, PGresult *const *answers)
{
	static void (*const readers[]) (Reading *reading, const PGresult *rows) = {
		[SHOW_CONFIG] = read_config,
		[SHOW_DATABASES] = read_databases,
		[SHOW_USERS] = read_users,
		[SHOW_PEERS] = read_peers,
	};
	Reading    *reading = arg;

	for (int i = 0; i < lengthof(readers); i++)
	{
		reading->asked = questions[i].sql;
		if (answers[i] != NULL)
			readers[i] (reading, answers[i]);
	}
}

/* Can it be no name of a foreign server, and is none?  Then it is not shown, for there may be passwords in it. */
static bool
is_other_text(const char *document)
{
	RunRequest	request = {0};

	return strlen(document) >= NAMEDATALEN || (strpbrk(document, "=\n") != NULL && !foreign_find(document, &request));
}

/* The pooler is called as the foreign server, unless a name follows the kind. */
static void
console_parse(Import *import)
{
	Reading		reading = {.import = import, .server = import->document};

	if (is_other_text(import->document))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the document of kind console must be the name of a foreign server, and is another text, of %zu bytes",
						strlen(import->document)),
				 errhint("The text of a pgbouncer.ini is of kind pgbouncer.")));
	if (import->name == import->source)
	{
		import->name = import->document;
		import->source = psprintf("%s:%s", import_kind_console.name, import->name);
	}
	foreign_console_ask(import->document, questions, console_read, &reading);
	if (reading.left_out > 0)
		ereport(NOTICE,
				(errmsg("%d of %d databases and users of %s have names that are not possible here, and are left out",
						reading.left_out, reading.nrows, text_printable(reading.server)),
				 errhint("A name has from 1 to 63 bytes, all of characters that can be shown.")));
}

const ImportKind import_kind_console = {
	.name = "console",
	.parse = console_parse,
	.as_caller = true,
	.too_many_hint = "Import its pgbouncer.ini, as kind pgbouncer, where all databases of \"*\" are one; or insert what services use.",
};

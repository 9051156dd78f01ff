/*
 * import_console.c
 *		The limits of a PgBouncer, from its console: the document is the name of a
 *		foreign server that has one.
 *
 * The console shows what is in force, wherever that was set.  Rows are those that the
 * pgbouncer.ini would declare, and in [pgbouncer] also what nothing sets; what a
 * database or user has of that is left out.  Nothing that the console says is trusted.
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

static const Question questions[] = {
	[SHOW_CONFIG] = {"SHOW CONFIG", "SHOW CONFIG: ", true, foreign_console_keep},
	[SHOW_DATABASES] = {"SHOW DATABASES", "SHOW DATABASES: ", true, foreign_console_keep},
	[SHOW_USERS] = {"SHOW USERS", "SHOW USERS: ", true, foreign_console_keep, .optional = true},
	[SHOW_PEERS] = {"SHOW PEERS", "SHOW PEERS: ", true, foreign_console_keep, .optional = true},	/* since 1.19 */
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

/* Returns the text; ERROR if it can be no name, or not be shown as it is. */
static const char *
require_name(const Reading *reading, const char *text)
{
	if (text[0] == '\0' || strlen(text) >= NAMEDATALEN || strcmp(text_printable(text), text) != 0)
		console_error(reading, psprintf("a name is \"%s\"", shown(text)),
					  "It must have from 1 to 63 bytes, all of characters that can be shown.");
	return text;
}

/* Adds the setting, unless that is what [pgbouncer] has for all. */
static void
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
		return;
	import_setting(reading->import, section, name, setting_name, setting == SETTING_POOL_MODE ? value : psprintf("%.15g", number));
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
			add_setting(reading, SECTION_PGBOUNCER, "", &column, answer_value(rows, i, "value"));
	}
	for (int i = 0; i < lengthof(always_set); i++)
		if (!reading->has[always_set[i]])
			console_error(reading, psprintf("there is no %s", pooler_setting_name(SECTION_PGBOUNCER, always_set[i])),
						  "It must be the console of a PgBouncer: see host, port and console of the foreign server.");
}

/* Adds what a row has in these columns. */
static void
read_columns(Reading *reading, PoolerSection section, const char *name, const ShownColumn *columns, const PGresult *rows, int row)
{
	for (const ShownColumn *column = columns; column->name != NULL; column++)
	{
		const char *text = answer_value(rows, row, column->name);

		if (text[0] != '\0')
			add_setting(reading, section, name, column, text);
	}
}

/* What it is on the server: as in the file, where a database has the same name there unless another is set. */
static void
read_database(Reading *reading, const PGresult *rows, int row)
{
	const char *name = require_name(reading, answer_value(rows, row, "name"));
	const char *dbname = require_name(reading, answer_value(rows, row, "database"));
	const char *user = answer_value(rows, row, "force_user");

	if (strcmp(name, CONSOLE_DATABASE) == 0)
		return;
	import_setting(reading->import, SECTION_DATABASES, name, SETTING_DBNAME, strcmp(dbname, name) == 0 ? "" : dbname);
	if (user[0] != '\0')
		import_setting(reading->import, SECTION_DATABASES, name, SETTING_USER, require_name(reading, user));
	read_columns(reading, SECTION_DATABASES, name, database_columns, rows, row);
}

static void
read_databases(Reading *reading, const PGresult *rows)
{
	require_column(reading, rows, "name");
	require_column(reading, rows, "database");
	require_column(reading, rows, "pool_size");
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
	for (int i = 0; i < PQntuples(rows); i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_columns(reading, SECTION_USERS, require_name(reading, answer_value(rows, i, "name")), user_columns, rows, i);
	}
}

/* Each is one of the processes that share the port. */
static void
read_peers(Reading *reading, const PGresult *rows)
{
	ShownColumn column = {"the number of peers", SETTING_PROCESSES};

	require_column(reading, rows, "peer_id");
	if (PQntuples(rows) > 1)
		add_setting(reading, SECTION_PGBOUNCER, "", &column, psprintf("%d", PQntuples(rows)));
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

/* The pooler is called as the foreign server, unless a name follows the kind. */
static void
console_parse(Import *import)
{
	Reading		reading = {.import = import, .server = import->document};

	if (strlen(import->document) >= NAMEDATALEN || strpbrk(import->document, "=\n") != NULL)
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
}

const ImportKind import_kind_console = {
	.name = "console",
	.parse = console_parse,
	.as_caller = true,
};

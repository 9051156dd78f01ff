/*
 * import_pgbouncer.c
 *		The limits of a PgBouncer, from its pgbouncer.ini: sections [pgbouncer], [databases],
 *		[users] and [peers].
 *
 * What limits no connections is passed over, and with it every password; an ERROR never
 * shows a line.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "advise/budget/import.h"

#define SECTION_OTHER	(-1)
#define SECTION_PEERS	(-2)	/* a line for each process */

/* The comment that says how many processes share the port. */
#define PROCESSES_COMMENT	"pool-exhaust: processes"

typedef struct Ini
{
	Import	   *import;
	int			section;
	int			peers;
	char	   *where;			/* "line 7" */
} Ini;

/* Returns the text without white space around it, in place. */
static char *
trimmed(char *text)
{
	char	   *end = text + strlen(text);

	while (end > text && strchr(" \t\r\n", end[-1]) != NULL)
		*--end = '\0';
	return text + strspn(text, " \t\r\n");
}

/* Adds a setting, if it is one of those that are kept. */
static void
add_setting(Ini *ini, PoolerSection section, const char *name, const char *key, const char *value)
{
	int			setting = pooler_setting_find(section, key);
	double		number;
	const char *wanted;

	if (strlen(name) >= NAMEDATALEN || (pooler_setting_is_text(section, key) && strlen(value) >= NAMEDATALEN))
		import_error(ini->where, "a name is too long", "PostgreSQL has names of up to 63 bytes.");
	if (pooler_setting_is_text(section, key) && strpbrk(value, "='\"") != NULL)
		import_error(ini->where, "a name has a quote or \"=\" in it", "Put a blank between the pairs.");
	if (pooler_setting_is_text(section, key))
		import_setting(ini->import, section, name, key, value);
	if (setting < 0)
		return;
	wanted = pooler_setting_read(setting, value, &number);
	if (wanted != NULL)
		import_error(ini->where, setting == SETTING_POOL_MODE ? "pool_mode is another word" : import_no_number(key, value), psprintf("It must be %s.", wanted));
	import_setting(ini->import, section, name, pooler_setting_name(section, setting), value);
}

/* Reads a value of "key=value" pairs, which may be in quotes, in place; returns what is behind it. */
static char *
pair_value(Ini *ini, char *at, char **value)
{
	char	   *to = at;
	bool		quoted = *at == '\'';

	*value = to;
	if (quoted)
		at++;
	while (quoted ? *at != '\'' || at[1] == '\'' : *at != '\0' && strchr(" \t", *at) == NULL)
	{
		if (*at == '\0')
			import_error(ini->where, "a quote does not end", "Close it, or double the quotes in the value.");
		at += quoted && *at == '\'';
		*to++ = *at++;
	}
	if (*at != '\0')
		at++;
	*to = '\0';
	return at;
}

/* "host=... dbname=... pool_size=5" of a database or a user. */
static void
read_pairs(Ini *ini, PoolerSection section, const char *name, char *at)
{
	for (at += strspn(at, " \t"); *at != '\0'; at += strspn(at, " \t"))
	{
		char	   *key = at;
		char	   *value;

		at += strcspn(at, "=");
		if (*at == '\0')
			import_error(ini->where, "there is a key without \"=\"", "Write key=value, with blanks between the pairs.");
		*at++ = '\0';
		at = pair_value(ini, at + strspn(at, " \t"), &value);
		add_setting(ini, section, name, trimmed(key), value);
	}
}

/* Returns the name without its quotes, if it has some, in place. */
static char *
unquoted(Ini *ini, char *name)
{
	char	   *to = name;

	if (name[0] != '"')
		return name;
	for (char *from = name + 1; from[0] != '"' || from[1] == '"'; from++)
	{
		if (*from == '\0')
			import_error(ini->where, "a quoted name does not end", "Close its quote.");
		from += *from == '"';
		*to++ = *from;
	}
	*to = '\0';
	return name;
}

static void
read_section(Ini *ini, char *line)
{
	char	   *end = strchr(line, ']');

	if (end == NULL)
		import_error(ini->where, "a section does not end", "Write [name].");
	*end = '\0';
	ini->section = strcmp(line + 1, "peers") == 0 ? SECTION_PEERS : words_find(&pooler_section_words, line + 1);
}

/* "key = value" */
static void
read_assignment(Ini *ini, char *line)
{
	char	   *value = line[0] == '"' && strchr(line + 1, '"') != NULL ? strchr(strchr(line + 1, '"'), '=') : strchr(line, '=');
	char	   *name;

	if (value == NULL)
		import_error(ini->where, "it is neither a section, a comment nor \"key = value\"", "It must be a pgbouncer.ini.");
	*value++ = '\0';
	name = trimmed(line);
	value = trimmed(value);
	if (ini->section == SECTION_PEERS)
		ini->peers++;
	else if (ini->section == SECTION_PGBOUNCER)
		add_setting(ini, SECTION_PGBOUNCER, "", name, value);
	else if (ini->section != SECTION_OTHER)
	{
		name = unquoted(ini, name);
		if (ini->section == SECTION_DATABASES)
			add_setting(ini, SECTION_DATABASES, name, SETTING_DBNAME, "");	/* it is there, whatever it sets */
		read_pairs(ini, ini->section, name, value);
	}
}

static void
read_comment(Ini *ini, char *comment)
{
	char	   *text = comment + strspn(comment, ";# \t");

	if (strncmp(text, PROCESSES_COMMENT, strlen(PROCESSES_COMMENT)) == 0 && strchr(text, '=') != NULL)
		add_setting(ini, SECTION_PGBOUNCER, "", "processes", trimmed(strchr(text, '=') + 1));
}

static void
read_line(Ini *ini, char *line)
{
	if (line[0] == ';' || line[0] == '#')
		read_comment(ini, line);
	else if (line[0] == '[')
		read_section(ini, line);
	else if (strncmp(line, "%include", strlen("%include")) == 0)
		import_error(ini->where, "%include is not followed", "Put the text of that file into its place.");
	else if (line[0] != '\0')
		read_assignment(ini, line);
}

static void
pgbouncer_parse(Import *import)
{
	Ini			ini = {.import = import, .section = SECTION_OTHER};
	StringInfoData line;
	int			n = 0;

	initStringInfo(&line);
	for (const char *at = import->document; *at != '\0';)
	{
		int			length = (int) strcspn(at, "\n");
		char		where[32];

		CHECK_FOR_INTERRUPTS();
		snprintf(where, sizeof(where), "line %d", ++n);
		ini.where = where;
		resetStringInfo(&line);
		appendBinaryStringInfo(&line, at, length);
		read_line(&ini, trimmed(line.data));
		at += length + (at[length] == '\n');
	}
	if (ini.peers > 1)
		import_setting(import, SECTION_PGBOUNCER, "", "processes", psprintf("%d", ini.peers));
	if (import->nrows == 0)
		import_error("the end", "nothing of it limits connections", "It must be a pgbouncer.ini, with sections [pgbouncer] and [databases].");
}

const ImportKind import_kind_pgbouncer = {
	.name = "pgbouncer",
	.parse = pgbouncer_parse,
};

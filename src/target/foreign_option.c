/*
 * foreign_option.c
 *		What options of foreign servers and user mappings may be.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "load/resolve.h"
#include "target/foreign.h"

/* ERROR: the option cannot have that value. */
void
foreign_option_is_wrong(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 errhint("%s", hint)));
}

/* Returns the hosts that stand in option host with commas between them, a List of char *; palloc'd. */
List *
foreign_hosts(const char *value)
{
	List	   *hosts = NIL;
	const char *comma;

	for (; (comma = strchr(value, ',')) != NULL; value = comma + 1)
		hosts = lappend(hosts, pnstrdup(value, comma - value));
	return lappend(hosts, pstrdup(value));
}

/* Does the host of that cell stand before it, too? */
static bool
is_named_before(List *hosts, const ListCell *cell)
{
	ListCell   *earlier;

	foreach(earlier, hosts)
	{
		if (earlier == cell)
			return false;
		if (strcmp(lfirst(earlier), lfirst(cell)) == 0)
			return true;
	}
	return false;
}

void
foreign_check_host(const char *name, const char *value)
{
	List	   *hosts = foreign_hosts(value);
	ListCell   *cell;

	foreach(cell, hosts)
	{
		const char *host = lfirst(cell);

		if (host[0] == '\0' || (host_is_socket(host) && list_length(hosts) > 1) || is_named_before(hosts, cell))
			foreign_option_is_wrong(name, value, "Give a host name, an address, or the directory of a socket; or names and addresses of one server, each once, with commas between them.");
	}
	if (list_length(hosts) > FOREIGN_HOSTS_MAX)
		foreign_option_is_wrong(name, value, psprintf("Up to %d are possible.", FOREIGN_HOSTS_MAX));
}

/* The others may connect a second time, on another socket: see session.c. */
void
foreign_check_sslmode(const char *name, const char *value)
{
	if (strcmp(value, "disable") != 0 && strcmp(value, "require") != 0 &&
		strcmp(value, "verify-ca") != 0 && strcmp(value, "verify-full") != 0)
		foreign_option_is_wrong(name, value, "Possible are: disable, require, verify-ca, verify-full.");
}

void
foreign_check_required(const char *name, const char *value)
{
	bool		required;

	if (!parse_bool(value, &required))
		foreign_option_is_wrong(name, value, "Possible are: true, false.");
	if (!required && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("password_required=false is superuser-only"),
				 errhint("User mappings with the password_required option set to false may only be created or modified by the superuser.")));
}

/* ERROR unless the option can have that value. */
void
foreign_option_check(const ForeignOption *option, const char *value)
{
	char	   *end;
	long		number = strtol(value, &end, 10);

	if (option->max > 0 && (*value == '\0' || *end != '\0' || number < 1 || number > option->max))
		foreign_option_is_wrong(option->name, value, psprintf("Whole numbers from 1 to %ld are possible.", option->max));
	if (option->check != NULL)
		option->check(option->name, value);
}

/* Returns the value of that option, a string of the list; NULL if it is not given. */
const char *
foreign_option_value(List *options, const char *name)
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

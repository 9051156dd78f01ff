/*
 * foreign_option.c
 *		What options of foreign servers and user mappings may be.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/builtins.h"

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

void
foreign_check_host(const char *name, const char *value)
{
	if (value[0] == '\0' || strchr(value, ',') != NULL)
		foreign_option_is_wrong(name, value, "Give one host name, address, or directory of a socket.");
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

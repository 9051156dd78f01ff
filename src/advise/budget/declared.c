/*
 * declared.c
 *		Reads table pool_exhaust_declared, and what the catalogs say of its roles and
 *		databases.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "advise/budget/budget.h"
#include "base/text.h"
#include "shmem/names.h"
#include "sql/statement.h"

/* Adds a sentence about what cannot be as it is declared; it makes the budget invalid. */
void
contradiction(Budget *budget, const char *format,...)
{
	StringInfo	text = &budget->contradictions;
	va_list		args;
	char		sentence[512];

	if (++budget->ncontradictions > CONTRADICTIONS_SHOWN)
		return;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	appendStringInfo(text, "%s%s", text->len > 0 ? "; " : "", sentence);
}

static bool
is_null(int row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column) == NULL;
}

static double
number(int row, int column)
{
	const char *text = statement_text(row, column);

	return text[0] != '\0' ? strtod(text, NULL) : -1;
}

static bool
is_true(int row, int column)
{
	return statement_text(row, column)[0] == 't';
}

static void
service_read(DeclaredService *service, int row)
{
	double		replicas = number(row, 7);
	double		replicas_max = number(row, 8);

	*service = (DeclaredService)
	{
		.name = text_printable(statement_text(row, 1)),
		.role = pstrdup(statement_text(row, 2)),
		.database = pstrdup(statement_text(row, 3)),
		.application_name = is_null(row, 4) ? NULL : pstrdup(statement_text(row, 4)),
		.via = pstrdup(statement_text(row, 5)),
		.source = text_printable(statement_text(row, 6)),
		.replicas = {replicas, replicas_max + number(row, 9), replicas_max + (replicas_max > 0)},
		.per_replica = number(row, 10) * (number(row, 11) + number(row, 12)),
		.idle = replicas * number(row, 10) * number(row, 13),
		.role_exists = !is_null(row, 14),
		.role_can_login = is_true(row, 14),
		.role_is_super = is_true(row, 15),
		.role_limit = (int) number(row, 16),
		.database_exists = !is_null(row, 17),
		.database_allows = is_true(row, 17),
		.database_limit = (int) number(row, 18),
	};
}

/* What the catalogs contradict. */
static void
service_check(Budget *budget, const DeclaredService *service)
{
	if (service->role[0] != '\0' && !service->role_exists)
		contradiction(budget, "service \"%s\": role \"%s\" does not exist", service->name, text_printable(service->role));
	else if (service->role[0] != '\0' && !service->role_can_login)
		contradiction(budget, "service \"%s\": role \"%s\" has no LOGIN", service->name, service->role);
	if (service->via[0] != '\0' && strcmp(service->via, VIA_REPLICATION) != 0)
		return;					/* its database is one of the pooler's */
	if (service->database[0] != '\0' && !service->database_exists)
		contradiction(budget, "service \"%s\": database \"%s\" does not exist", service->name, text_printable(service->database));
	else if (service->database[0] != '\0' && !service->database_allows)
		contradiction(budget, "service \"%s\": database \"%s\" allows no connections", service->name, service->database);
}

/* Reads all services by name.  SPI is connected, and the user the owner of the extension. */
void
declared_read(Budget *budget)
{
	uint64		n;

	statement_run(&budget->extension,
				  "SELECT service, role, database, application_name, via, source, replicas, coalesce(replicas_max, replicas), "
				  "surge, processes, pool_size, max_overflow, min_idle, rolcanlogin, rolsuper, rolconnlimit, datallowconn, datconnlimit "
				  "FROM @.pool_exhaust_declared LEFT JOIN pg_catalog.pg_roles ON rolname = role "
				  "LEFT JOIN pg_catalog.pg_database ON datname = database ORDER BY service COLLATE \"C\"",
				  SPI_OK_SELECT, 0, NULL, NULL);
	MemoryContextSwitchTo(budget->context);
	n = SPI_processed;
	for (uint64 row = 0; row < n; row++)
	{
		DeclaredService *service = palloc(sizeof(DeclaredService));

		service_read(service, (int) row);
		service->names = palloc(sizeof(Names));
		names_fill(service->names, CAUSE_NONE, service->role, NULL, service->application_name);
		service_check(budget, service);
		budget->services = lappend(budget->services, service);
	}
}

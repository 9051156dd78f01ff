/*
 * declared.c
 *		Reads table pool_exhaust_declared, and what the catalogs say of its roles and
 *		databases.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "advise/budget/budget.h"
#include "base/compat.h"
#include "base/text.h"
#include "shmem/names.h"
#include "sql/statement.h"

/* Adds a sentence about what cannot be as it is declared; it makes the budget invalid. */
void
contradiction(Budget *budget, const char *format,...)
{
	StringInfo	text = &budget->contradictions;
	int			needed = 0;

	if (++budget->ncontradictions > CONTRADICTIONS_SHOWN)
		return;
	appendStringInfoString(text, text->len > 0 ? "; " : "");
	do
	{
		va_list		args;

		enlargeStringInfo(text, needed);
		va_start(args, format);
		needed = appendStringInfoVA(text, format, args);
		va_end(args);
	} while (needed > 0);
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
	};
	service->names = palloc(sizeof(Names));
	names_fill(service->names, CAUSE_NONE, service->role, NULL, service->application_name);
}

/* Does it go by a pooler? */
bool
service_is_pooled(const DeclaredService *service)
{
	return service->via[0] != '\0' && strcmp(service->via, VIA_REPLICATION) != 0;
}

/* Returns what the catalogs say of the role. */
CatalogEntry
facts_of_role(const char *name)
{
	HeapTuple	tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(name));
	CatalogEntry facts = {.limit = -1};
	Form_pg_authid role;

	if (!HeapTupleIsValid(tuple))
		return facts;
	role = (Form_pg_authid) GETSTRUCT(tuple);
	facts = (CatalogEntry) {true, role->rolcanlogin, role->rolsuper, role->rolconnlimit};
	ReleaseSysCache(tuple);
	return facts;
}

/* The same of the database. */
CatalogEntry
facts_of_database(const char *name)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(get_database_oid(name, true)));
	CatalogEntry facts = {.limit = -1};
	Form_pg_database database;

	if (!HeapTupleIsValid(tuple))
		return facts;
	database = (Form_pg_database) GETSTRUCT(tuple);
	facts = (CatalogEntry) {true, database->datallowconn && database->datconnlimit >= -1, false, database->datconnlimit};
	ReleaseSysCache(tuple);
	return facts;
}

/* What the catalogs contradict; the database of a service behind a pooler is one of the pooler's. */
static void
service_check(Budget *budget, DeclaredService *service)
{
	bool		pooled = service_is_pooled(service);
	CatalogEntry role = facts_of_role(service->role);
	CatalogEntry database = facts_of_database(service->database);

	service->is_super = role.is_super;
	if (service->role[0] != '\0' && !pooled && !role.exists)
		contradiction(budget, "service \"%s\": role \"%s\" does not exist", service->name, text_printable(service->role));
	else if (service->role[0] != '\0' && !pooled && !role.connects)
		contradiction(budget, "service \"%s\": role \"%s\" has no LOGIN", service->name, text_printable(service->role));
	if (service->database[0] != '\0' && !pooled && !database.exists)
		contradiction(budget, "service \"%s\": database \"%s\" does not exist", service->name, text_printable(service->database));
	else if (service->database[0] != '\0' && !pooled && !database.connects)
		contradiction(budget, "service \"%s\": database \"%s\" allows no connections", service->name, text_printable(service->database));
}

/* Reads all services by name.  SPI is connected, and the user the owner of the extension. */
void
declared_read(Budget *budget)
{
	uint64		n;

	statement_run(&budget->extension,
				  "SELECT service, role, database, application_name, via, source, replicas, coalesce(replicas_max, replicas), "
				  "surge, processes, pool_size, max_overflow, min_idle FROM @.pool_exhaust_declared ORDER BY service COLLATE \"C\"",
				  SPI_OK_SELECT, 0, NULL, NULL);
	MemoryContextSwitchTo(budget->context);
	n = SPI_processed;
	for (uint64 row = 0; row < n; row++)
	{
		DeclaredService *service = palloc(sizeof(DeclaredService));

		service_read(service, (int) row);
		service_check(budget, service);
		budget->services = lappend(budget->services, service);
	}
}

/*
 * import.h
 *		Documents that declare services or poolers.
 *
 * A kind of document is one file, which defines import_kind_<name>, and one line here.
 */
#pragma once

#include "lib/stringinfo.h"

#include "advise/budget/pooler.h"
#include "base/compat.h"
#include "sql/extension.h"

#define IMPORT_KINDS(KIND) \
	KIND(csv) \
	KIND(kubernetes) \
	KIND(pgbouncer) \
	KIND(console)

/* Columns of pool_exhaust_declared: name, and bounds if it is a number. */
#define DECLARED_COLUMN_LIST(ROW) \
	ROW(COLUMN_SERVICE, "service", 0, 0) \
	ROW(COLUMN_ROLE, "role", 0, 0) \
	ROW(COLUMN_DATABASE, "database", 0, 0) \
	ROW(COLUMN_APPLICATION_NAME, "application_name", 0, 0) \
	ROW(COLUMN_VIA, "via", 0, 0) \
	ROW(COLUMN_REPLICAS, "replicas", 0, 10000) \
	ROW(COLUMN_REPLICAS_MAX, "replicas_max", 0, 10000) \
	ROW(COLUMN_SURGE, "surge", 0, 10000) \
	ROW(COLUMN_PROCESSES, "processes", 1, 1000) \
	ROW(COLUMN_POOL_SIZE, "pool_size", 0, 10000) \
	ROW(COLUMN_MAX_OVERFLOW, "max_overflow", 0, 10000) \
	ROW(COLUMN_MIN_IDLE, "min_idle", 0, 10000)

typedef enum DeclaredColumn
{
	DECLARED_COLUMN_LIST(LIST_MEMBER)
} DeclaredColumn;

#define DECLARED_COLUMNS LIST_COUNT(DECLARED_COLUMN_LIST)

typedef struct ImportedService
{
	char	   *values[DECLARED_COLUMNS];	/* NULL: as the table has it by default */
} ImportedService;

typedef struct Import
{
	const struct ImportKind *kind;
	const char *document;
	const char *name;			/* of the pooler that the document is of */
	const char *source;			/* what goes to column source */
	const Extension *extension;
	int			nrows;
	StringInfoData services;	/* these two are arrays of JSON, without their end */
	StringInfoData settings;
} Import;

/*
 * "parse" adds what the document declares; it is not trusted.  ERROR with the line if
 * it is wrong.  No text of the document is shown but names of services and columns, and
 * numbers: there may be passwords beside them.
 */
typedef struct ImportKind
{
	const char *name;
	void		(*parse) (Import *import);
	bool		as_caller;		/* parse() needs the caller's rights, and none of the extension's owner, nor SPI */
	const char *too_many_hint;	/* what to do where it declares more rows than it may; NULL: to import it in parts */
} ImportKind;

#define IMPORT_KIND_DECLARE(name) extern const ImportKind import_kind_##name;
IMPORT_KINDS(IMPORT_KIND_DECLARE)
#undef IMPORT_KIND_DECLARE

/* import.c */
extern int	budget_import(const char *document, const char *kind);

/* For the kinds: "where" is what an ERROR calls the place, like "line 7". */
extern int	declared_column_find(const char *name);
extern char *declared_columns_text(void);
extern void import_value(ImportedService *service, DeclaredColumn column, const char *text, const char *where);
extern void import_service(Import *import, const ImportedService *service, const char *where);
extern void import_setting(Import *import, PoolerSection section, const char *name, const char *setting, const char *value);
extern char *import_no_number(const char *name, const char *text);
pg_noreturn extern void import_error(const char *where, const char *what, const char *hint);

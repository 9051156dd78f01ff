/*
 * import.c
 *		pool_exhaust_budget_import(): what a document declares goes to the tables, in the
 *		place of what documents of the same source declared before.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "advise/budget/import.h"
#include "base/text.h"
#include "sql/statement.h"

#define DOCUMENT_MAX	(16 * 1024 * 1024)	/* bytes */
#define ROWS_MAX		10000	/* that one document may declare */
#define TEXT_MAX		200		/* bytes of a value that is kept */
#define SHOWN_MAX		60		/* bytes of a value in an ERROR */

#define IMPORT_KIND_ADDRESS(name) &import_kind_##name,

static const ImportKind *const kinds[] = {
	IMPORT_KINDS(IMPORT_KIND_ADDRESS)
};

typedef struct ColumnType
{
	const char *name;
	int			min;
	int			max;			/* 0: it is a text */
} ColumnType;

static const ColumnType columns[] = {DECLARED_COLUMN_LIST(LIST_ROW)};

/* ---------- For the kinds ---------- */

/* Returns the column of that name, -1 if there is none. */
int
declared_column_find(const char *name)
{
	for (int i = 0; i < lengthof(columns); i++)
		if (strcmp(columns[i].name, name) == 0)
			return i;
	return -1;
}

/* Returns all of them, palloc'd. */
char *
declared_columns_text(void)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(columns); i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", columns[i].name);
	return text.data;
}

/* ERROR: the document is wrong there. */
void
import_error(const char *where, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("%s of the document: %s", where, what),
			 errhint("%s", hint)));
}

static const char *
shown(const char *text)
{
	return text_printable(text_cut(text, SHOWN_MAX));
}

/*
 * Returns what an ERROR says a value is that is not the number that it must be: it shows
 * what looks like a number, and nothing else, for a text out of its place may be a
 * password.
 */
char *
import_no_number(const char *name, const char *text)
{
	return strspn(text, "+-.0123456789eE%") == strlen(text) && strlen(text) <= SHOWN_MAX
		? psprintf("%s is \"%s\"", name, text) : psprintf("%s is no number", name);
}

/* Gives the service a value, which is copied; ERROR if it is out of bounds. */
void
import_value(ImportedService *service, DeclaredColumn column, const char *text, const char *where)
{
	const ColumnType *type = &columns[column];
	char	   *end;
	long		number;

	if (strlen(text) > TEXT_MAX)
		import_error(where, psprintf("%s has %zu bytes, and may have %d", type->name, strlen(text), TEXT_MAX), "Shorten it.");
	service->values[column] = pstrdup(text);
	if (type->max == 0)
		return;
	number = strtol(text, &end, 10);
	if (end == text || *end != '\0' || number < type->min || number > type->max)
		import_error(where, import_no_number(type->name, text),
					 psprintf("It must be a number from %d to %d.", type->min, type->max));
	service->values[column] = psprintf("%ld", number);
}

/* Counts a row; ERROR if there are too many. */
static void
count_row(Import *import)
{
	if (++import->nrows > ROWS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the document declares more than %d services or settings", ROWS_MAX),
				 errhint("%s", import->kind->too_many_hint != NULL ? import->kind->too_many_hint :
						 "Import a smaller one, or several under names of their own: \"csv:NAME\".")));
}

/* Adds the service; ERROR if it has no name or no pool_size. */
void
import_service(Import *import, const ImportedService *service, const char *where)
{
	StringInfo	json = &import->services;

	count_row(import);
	if (service->values[COLUMN_SERVICE] == NULL)
		import_error(where, "there is no service", "Name it.");
	if (service->values[COLUMN_POOL_SIZE] == NULL)
		import_error(where, psprintf("service \"%s\" has no pool_size", shown(service->values[COLUMN_SERVICE])),
					 "Give the connections of each of its pools.");
	appendStringInfoString(json, json->len > 1 ? ", {" : "{");
	for (int i = 0; i < DECLARED_COLUMNS; i++)
	{
		if (service->values[i] == NULL)
			continue;
		appendStringInfo(json, "%s\"%s\": ", json->data[json->len - 1] == '{' ? "" : ", ", columns[i].name);
		escape_json(json, service->values[i]);
	}
	appendStringInfoChar(json, '}');
}

/* Adds a setting of the pooler; its value is valid. */
void
import_setting(Import *import, PoolerSection section, const char *name, const char *setting, const char *value)
{
	StringInfo	json = &import->settings;
	const char *texts[] = {pooler_section_words.names[section], name, setting, value};

	count_row(import);
	appendStringInfoString(json, json->len > 1 ? ", " : "");
	for (int i = 0; i < lengthof(texts); i++)
	{
		appendStringInfoString(json, i > 0 ? ", " : "[");
		escape_json(json, texts[i]);
	}
	appendStringInfoChar(json, ']');
}

/* ---------- Into the tables ---------- */

/* A table, and what there is to do with an array of JSON, the source and the name. */
typedef struct Destination
{
	const char *insert;			/* the rows that are not declared by hand as well */
	const char *count_kept;		/* those that are */
} Destination;

static const Destination services = {
	.insert = "INSERT INTO @.pool_exhaust_declared (service, role, database, application_name, via, replicas, replicas_max, "
	"surge, processes, pool_size, max_overflow, min_idle, source) "
	"SELECT service, role, database, application_name, via, coalesce(replicas, 1), replicas_max, coalesce(surge, 0), "
	"coalesce(processes, 1), pool_size, coalesce(max_overflow, 0), coalesce(min_idle, 0), $1 "
	"FROM pg_catalog.jsonb_to_recordset($3) AS r(service text, role text, database text, application_name text, via text, "
	"replicas integer, replicas_max integer, surge integer, processes integer, pool_size integer, max_overflow integer, "
	"min_idle integer) WHERE $2 IS NOT NULL AND NOT EXISTS (SELECT FROM @.pool_exhaust_declared AS d "
	"WHERE d.service = r.service AND d.source = 'sql')",

	.count_kept = "SELECT pg_catalog.count(*) FROM @.pool_exhaust_declared AS d WHERE d.source = 'sql' AND $2 IS NOT NULL "
	"AND EXISTS (SELECT FROM pg_catalog.jsonb_array_elements($3) AS r(s) WHERE r.s->>'service' = d.service)"
};

/* As in PgBouncer the last of several holds. */
static const Destination settings = {
	.insert = "INSERT INTO @.pool_exhaust_declared_poolers (pooler, section, name, setting, value, source) "
	"SELECT DISTINCT ON (s->>0, s->>1, s->>2) $2, s->>0, s->>1, s->>2, s->>3, $1 "
	"FROM pg_catalog.jsonb_array_elements($3) WITH ORDINALITY AS r(s, n) "
	"WHERE NOT EXISTS (SELECT FROM @.pool_exhaust_declared_poolers AS d WHERE d.pooler = $2 AND d.section = r.s->>0 "
	"AND d.name = r.s->>1 AND d.setting = r.s->>2 AND d.source = 'sql') ORDER BY s->>0, s->>1, s->>2, n DESC",

	.count_kept = "SELECT pg_catalog.count(*) FROM @.pool_exhaust_declared_poolers AS d WHERE d.pooler = $2 AND d.source = 'sql' "
	"AND EXISTS (SELECT FROM pg_catalog.jsonb_array_elements($3) AS r(s) WHERE r.s->>0 = d.section "
	"AND r.s->>1 = d.name AND r.s->>2 = d.setting)"
};

/* Inserts the rows of the array; adds those that stand there by hand to "kept", and returns how many are new. */
static int
write_rows(const Import *import, const Destination *to, StringInfo array, int *kept)
{
	Oid			types[] = {TEXTOID, TEXTOID, JSONBOID};
	Datum		values[] = {CStringGetTextDatum(import->source), CStringGetTextDatum(import->name), 0};

	appendStringInfoChar(array, ']');
	values[2] = DirectFunctionCall1(jsonb_in, CStringGetDatum(array->data));
	statement_run(import->extension, to->count_kept, SPI_OK_SELECT, lengthof(types), types, values);
	*kept += atoi(statement_text(0, 1));
	statement_run(import->extension, to->insert, SPI_OK_INSERT, lengthof(types), types, values);
	return (int) SPI_processed;
}

/* Deletes what was imported from there before, and of a pooler also from elsewhere. */
static void
delete_imported(const Import *import)
{
	const char *pooler = import->settings.len > 1 ? import->name : "";
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(import->source), CStringGetTextDatum(pooler)};

	statement_run(import->extension, "DELETE FROM @.pool_exhaust_declared WHERE source = $1", SPI_OK_DELETE, 1, types, values);
	statement_run(import->extension, "DELETE FROM @.pool_exhaust_declared_poolers WHERE source = $1 OR (pooler = $2 AND source <> 'sql')",
				  SPI_OK_DELETE, lengthof(types), types, values);
}

/* Returns how many rows the document declares, without those that are declared by hand. */
static int
write_import(Import *import)
{
	int			kept = 0;
	int			rows;

	delete_imported(import);
	rows = write_rows(import, &services, &import->services, &kept);
	rows += write_rows(import, &settings, &import->settings, &kept);
	if (kept > 0)
		ereport(NOTICE,
				(errmsg("%d rows of the document are declared by hand as well, and those of source sql are kept", kept),
				 errhint("To have those of the document, delete these, and import it again.")));
	return rows;
}

static char *
kinds_text(void)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(kinds); i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", kinds[i]->name);
	return text.data;
}

/* Returns the kind of "kind" or "kind:NAME"; the name, or the kind if there is none, goes to "name". */
static const ImportKind *
kind_find(const char *text, const char **name)
{
	int			length = (int) strcspn(text, ":");

	*name = text[length] == ':' && text[length + 1] != '\0' ? text + length + 1 : text;
	for (int i = 0; i < lengthof(kinds); i++)
		if (strlen(kinds[i]->name) == length && strncmp(kinds[i]->name, text, length) == 0 && strlen(text) <= TEXT_MAX)
			return kinds[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no kind \"%s\" of documents", shown(text)),
			 errhint("Kinds are: %s.  A name may follow, as in \"csv:NAME\": documents of different names stand beside each other.", kinds_text())));
}

/*
 * Declares what the document says, in the place of what was imported as the same kind
 * and name before; returns how many rows that are.  ERROR if the document is wrong.
 */
int
budget_import(const char *document, const char *kind)
{
	Extension	extension;
	Import		import = {.document = document, .source = kind, .extension = &extension};
	int			rows;

	import.kind = kind_find(kind, &import.name);
	if (strlen(document) > DOCUMENT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the document has %zu bytes, and may have %d", strlen(document), DOCUMENT_MAX),
				 errhint("Import it in parts, under names of their own: \"csv:NAME\".")));
	initStringInfo(&import.services);
	initStringInfo(&import.settings);
	appendStringInfoChar(&import.services, '[');
	appendStringInfoChar(&import.settings, '[');
	extension_require_current(&extension);
	if (import.kind->as_caller)
		import.kind->parse(&import);
	extension_enter(&extension);
	SPI_connect();
	if (!import.kind->as_caller)
		import.kind->parse(&import);
	rows = write_import(&import);
	SPI_finish();
	extension_leave(&extension);
	return rows;
}

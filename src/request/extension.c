/*
 * extension.c
 *		Where the extension's own tables are, and a transaction to use them in.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "request/extension.h"

#define EXTENSION_NAME "pool_exhaust"

static char *
extension_version(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion, desc, &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(version);
}

/* Needs a transaction.  False if this database does not have the extension. */
bool
extension_find(Extension *extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);

		extension->oid = form->oid;
		extension->owner = form->extowner;
		extension->version = extension_version(tuple, RelationGetDescr(rel));
		extension->schema = pstrdup(quote_identifier(get_namespace_name(form->extnamespace)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Needs a transaction.  ERROR if this database does not have the extension. */
void
extension_require(Extension *extension)
{
	if (!extension_find(extension))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension %s is not installed in this database", EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s, and commit it.", EXTENSION_NAME)));
}

/*
 * The same, and its SQL objects must be those of this library: ERROR if they are
 * of another version.
 */
void
extension_require_current(Extension *extension)
{
	extension_require(extension);
	if (strcmp(extension->version, EXTVERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension %s is of version %s in this database, and its library of version %s",
						EXTENSION_NAME, extension->version, EXTVERSION),
				 errhint("Run ALTER EXTENSION %s UPDATE; if the library is the older one, restart the server after its installation.",
						 EXTENSION_NAME)));
}

/* Settings of databases and roles must not reach the transactions of workers. */
void
transaction_set_gucs(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"lock_timeout", "5s"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"synchronous_commit", "local"},
		{"lc_messages", "C"},	/* session.c reads what libpq writes */
	};

	for (int i = 0; i < lengthof(settings); i++)
		if (GetConfigOption(settings[i].name, true, false) != NULL)
			SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* For processes that have no transaction of their own: the workers. */
void
transaction_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

void
transaction_commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/*
 * For a PG_CATCH that ends the error: logs it at "loglevel" and returns it, in
 * "context", which becomes the current one; nothing of its transaction is left.
 */
ErrorData *
error_catch(MemoryContext context, int loglevel)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	LWLockReleaseAll();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	ereport(loglevel,
			(errcode(error->sqlerrcode),
			 errmsg_internal("pool_exhaust: %s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->context ? errcontext("%s", error->context) : 0));
	return error;
}

void
spi_run(const char *sql, int expected, int nargs, Oid *types, Datum *values)
{
	int			rc = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);

	if (rc != expected)
		elog(ERROR, "SPI returned %s instead of %s", SPI_result_code_string(rc),
			 SPI_result_code_string(expected));
}

/* A field of the last result as text; "" for NULL.  Columns count from 1. */
char *
spi_text(int row, int column)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text != NULL ? text : "";
}

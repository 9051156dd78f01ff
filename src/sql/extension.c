/*
 * extension.c
 *		Where the extension's own tables are, and a transaction to use them in.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "sql/extension.h"

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

/* Locks the extension and its tables, however they are called: after that no name changes by a wait. */
static void
extension_lock(Oid oid)
{
	Relation	rel;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	LockDatabaseObject(ExtensionRelationId, oid, 0, AccessShareLock);
	rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == RelationRelationId && form->deptype == DEPENDENCY_EXTENSION &&
			get_rel_relkind(form->objid) == RELKIND_RELATION)
			LockRelationOid(form->objid, AccessShareLock);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Until extension_leave() the user is the owner of the extension, whose rights its
 * tables need; a superuser as a rule, so nothing of the caller's may decide what a
 * name stands for, or run.  Statements go by statement_run().  After an ERROR the
 * end of the transaction restores everything.  ERROR if the extension was being
 * dropped, or its tables stay locked.
 */
void
extension_enter(Extension *extension)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"extra_float_digits", "1"},	/* numbers in JSON have as many as restore them */
	};

	extension_lock(extension->oid);
	extension_require(extension);
	GetUserIdAndSecContext(&extension->user, &extension->sec_context);
	SetUserIdAndSecContext(extension->owner,
						   extension->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	extension->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* The user is the caller again. */
void
extension_leave(Extension *extension)
{
	AtEOXact_GUC(false, extension->guc_level);
	SetUserIdAndSecContext(extension->user, extension->sec_context);
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

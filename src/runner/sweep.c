/*
 * sweep.c
 *		Cleans up what runs left behind when the server crashed.
 *
 * A crash leaves the login role of a run and a row without a verdict.  The
 * monitor starts with the server, and again after a crash, and searches for them
 * first.  Without a database it can read little more than the names of roles; if
 * the name of one begins as those of runs do, it launches a worker in template1.
 * That worker reads which databases such roles belong to, and launches a worker
 * in each of those, which cleans up there.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"

#include "runner/results.h"
#include "runner/role.h"
#include "runner/sweep.h"
#include "runner/sweeper.h"
#include "sql/connect.h"
#include "sql/extension.h"

/* Is there a role with the name of a run's role?  Works without a database. */
static bool
leftovers_exist(void)
{
	Relation	rel = table_open(AuthIdRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = strncmp(NameStr(((Form_pg_authid) GETSTRUCT(tuple))->rolname),
						ROLE_PREFIX, strlen(ROLE_PREFIX)) == 0;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Puts right what a crash left, if it left anything.  For the monitor, which
 * must not wait: false if the roles cannot be read now.
 */
bool
sweep(void)
{
	bool		readable;
	bool		found = false;

	StartTransactionCommand();
	readable = ConditionalLockRelationOid(AuthIdRelationId, AccessShareLock);
	if (readable)
		found = leftovers_exist();
	CommitTransactionCommand();
	if (found)
		(void) sweeper_launch(Template1DbOid, InvalidOid);
	return readable;
}

/* Puts right what is in this database; from template1, in the others first. */
static void
sweep_here(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *databases = NIL;
	ListCell   *lc;

	transaction_begin();
	results_sweep();
	MemoryContextSwitchTo(context);
	if (MyDatabaseId == Template1DbOid)
		databases = list_copy(roles_databases(InvalidOid));
	transaction_commit();
	MemoryContextSwitchTo(context);
	foreach(lc, databases)
		sweeper_run(lfirst_oid(lc), InvalidOid);
	roles_sweep(-1);
}

/* The worker in one database. */
void
sweep_main(Datum arg)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			role;

	memcpy(&role, MyBgworkerEntry->bgw_extra, sizeof(role));
	BackgroundWorkerUnblockSignals();
	worker_connect(DatumGetObjectId(arg), NULL, BGWORKER_BYPASS_ALLOWCONN);
	PG_TRY();
	{
		if (OidIsValid(role))
		{
			transaction_begin();
			role_disown(role);
			transaction_commit();
		}
		else
			sweep_here();
	}
	PG_CATCH();
	{
		(void) error_catch(context, LOG);
	}
	PG_END_TRY();
	proc_exit(0);
}

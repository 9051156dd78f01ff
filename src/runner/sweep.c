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

#include "event/worker.h"
#include "request/extension.h"
#include "runner/identity.h"
#include "runner/results.h"
#include "runner/sweep.h"

static void
sweep_launch(Oid database)
{
	BackgroundWorker worker;

	worker_describe(&worker, "sweeper", "sweep_main");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	if (!RegisterDynamicBackgroundWorker(&worker, NULL))
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("pool_exhaust cannot clean up after a crash: no background worker is free"),
				 errhint("The next run will, or raise max_worker_processes.")));
}

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
		sweep_launch(Template1DbOid);
	return readable;
}

/* The worker in one database. */
void
sweep_main(Datum arg)
{
	ListCell   *lc;

	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	transaction_set_gucs();
	transaction_begin();
	if (MyDatabaseId == Template1DbOid)
		foreach(lc, identity_databases())
			if (lfirst_oid(lc) != MyDatabaseId)
				sweep_launch(lfirst_oid(lc));
	results_sweep();
	identity_sweep(NULL);
	transaction_commit();
	proc_exit(0);
}

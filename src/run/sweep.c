/*
 * sweep.c
 *		Puts right what runs left behind when the server crashed.
 *
 * A crash leaves the login role of a run and a row without a verdict.  The
 * sweeper starts with the server, and again after a crash; it looks for such
 * roles in the shared catalogs, sends a worker into each database that they
 * name, and then costs nothing: it waits for the server to stop, because only
 * a worker that still lives is started again after a crash.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_shdescription.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "compat.h"
#include "extension.h"
#include "identity.h"
#include "results.h"
#include "sweep.h"

#define RESTART_S	5

static void
sweep_launch(Oid database)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	strlcpy(worker.bgw_library_name, "pool_exhaust", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "sweep_database_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pool_exhaust sweeper", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pool_exhaust sweeper of database %u", database);
	if (!RegisterDynamicBackgroundWorker(&worker, NULL))
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("pool_exhaust cannot clean up after a crash: no background worker is free"),
				 errhint("The next run will, or raise max_worker_processes.")));
}

/* The databases whose runs left a role behind, each once. */
static List *
databases_with_leftovers(void)
{
	Relation	rel = table_open(SharedDescriptionRelationId, AccessShareLock);
	List	   *databases = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_shdescription_classoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(AuthIdRelationId));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		comment = heap_getattr(tuple, Anum_pg_shdescription_description,
										RelationGetDescr(rel), &isnull);
		Oid			database = InvalidOid;

		if (!isnull)
			database = identity_database(TextDatumGetCString(comment));
		if (OidIsValid(database))
			databases = list_append_unique_oid(databases, database);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return databases;
}

void
sweeper_main(Datum arg)
{
	ListCell   *lc;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	StartTransactionCommand();
	foreach(lc, databases_with_leftovers())
		sweep_launch(lfirst_oid(lc));
	CommitTransactionCommand();

	while (!ShutdownRequestPending)
	{
		CHECK_FOR_INTERRUPTS();
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1,
				  compat_wait_event("PoolExhaustSweeper"));
		ResetLatch(MyLatch);
	}
	proc_exit(0);
}

void
sweep_database_main(Datum arg)
{
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	transaction_begin();
	results_sweep();
	identity_sweep();
	transaction_commit();
	proc_exit(0);
}

/* To be called from _PG_init while shared_preload_libraries is processed. */
void
sweep_init(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_S;
	strlcpy(worker.bgw_library_name, "pool_exhaust", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "sweeper_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pool_exhaust sweeper", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pool_exhaust sweeper", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/*
 * sweep.c
 *		Cleans up what runs left behind when the server crashed, or a standby was
 *		promoted.
 *
 * That is a row without a verdict, and the login roles of the run.  The monitor
 * starts with the server, and again after a crash.  As soon as the server can write
 * it makes a tour of the databases, because it is connected to none itself: it
 * launches a worker in each, one after the other, so that one that is free is
 * enough.  The worker cleans up what is in its database.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "runner/results.h"
#include "runner/role.h"
#include "runner/sweep.h"
#include "runner/sweeper.h"
#include "shmem/shared.h"
#include "sql/connect.h"
#include "sql/extension.h"

/* Of the monitor: the tour. */
static bool touring;			/* it is under way */
static Oid	visited;			/* the last database */
static BackgroundWorkerHandle *visitor; /* the worker there, or NULL */
static bool none_was_free;		/* that is logged once a tour */

/*
 * Returns the database with the next OID that is to be visited, InvalidOid if there
 * is none.  Not in template0 and its like, see SWEPT_DATABASE.  Works without a database.
 */
static Oid
database_after(Oid last)
{
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	Oid			next = InvalidOid;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (SWEPT_DATABASE(form) && form->oid > last && (next == InvalidOid || form->oid < next))
			next = form->oid;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return next;
}

/* Launches a worker in the next database, or ends the tour; tries again if that cannot be now. */
static void
tour_go_on(void)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			next = InvalidOid;
	bool		readable;

	StartTransactionCommand();
	readable = ConditionalLockRelationOid(DatabaseRelationId, AccessShareLock);
	if (readable)
		next = database_after(visited);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	if (!readable)
		return;
	touring = OidIsValid(next);
	if (!touring)
		return;
	MemoryContextSwitchTo(TopMemoryContext);
	visitor = sweeper_launch(next, InvalidOid);
	MemoryContextSwitchTo(context);
	if (visitor != NULL)
		visited = next;
	else if (!none_was_free)
		sweeper_log_none(next, "It does as soon as one is.  If that does not come about, raise max_worker_processes.");
	none_was_free |= visitor == NULL;
}

/*
 * For the monitor, at each turn while the server can write; does not wait.  "again"
 * begins the tour, from the first database.
 */
void
sweep(bool again)
{
	pid_t		pid;

	if (again)
	{
		visited = InvalidOid;
		none_was_free = false;
		touring = true;
	}
	if (visitor != NULL)
	{
		if (GetBackgroundWorkerPid(visitor, &pid) != BGWH_STOPPED)
			return;
		pfree(visitor);
		visitor = NULL;
	}
	if (touring)
		tour_go_on();
	pg_atomic_write_u32(&shared->sweeping, visitor != NULL);
}

/* ---------- The worker in one database ---------- */

static void
disown(Oid role)
{
	transaction_begin();
	role_disown(role);
	transaction_commit();
}

static void
sweep_results(Oid unused)
{
	transaction_begin();
	results_sweep();
	transaction_commit();
}

static void
sweep_roles(Oid unused)
{
	roles_sweep(-1);
}

/* An ERROR is logged, and ends nothing but this task. */
static void
attempt(void (*task) (Oid role), Oid role)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		task(role);
	}
	PG_CATCH();
	{
		(void) error_catch(context, LOG);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

void
sweep_main(Datum arg)
{
	Oid			role;

	memcpy(&role, MyBgworkerEntry->bgw_extra, sizeof(role));
	BackgroundWorkerUnblockSignals();
	worker_connect(DatumGetObjectId(arg), NULL, BGWORKER_BYPASS_ALLOWCONN);
	if (OidIsValid(role))
		attempt(disown, role);
	else
	{
		attempt(sweep_results, role);
		attempt(sweep_roles, role);
	}
	proc_exit(0);
}

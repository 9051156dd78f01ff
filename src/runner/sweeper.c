/*
 * sweeper.c
 *		Launches the workers that clean up in one database: see sweep_main().
 */
#include "postgres.h"

#include "miscadmin.h"

#include "event/worker.h"
#include "runner/sweeper.h"

/* Launches a worker for one database: see sweeper_run().  Returns its handle; NULL, logged, if no worker is free. */
BackgroundWorkerHandle *
sweeper_launch(Oid database, Oid role)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;

	worker_describe(&worker, "sweeper", "sweep_main");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &role, sizeof(role));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("pool_exhaust cannot clean up in database %u: no background worker is free", database),
				 errhint("The next run will, or raise max_worker_processes.")));
	return handle;
}

/*
 * Cleans up in another database, by a worker there, and returns when that has
 * ended: drops what the role has there, or sweeps as after a crash if that is
 * InvalidOid.
 */
void
sweeper_run(Oid database, Oid role)
{
	BackgroundWorkerHandle *handle = sweeper_launch(database, role);

	if (handle != NULL)
		(void) WaitForBackgroundWorkerShutdown(handle);
}

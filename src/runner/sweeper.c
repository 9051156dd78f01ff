/*
 * sweeper.c
 *		Launches the workers that clean up in one database: see sweep_main().
 */
#include "postgres.h"

#include "miscadmin.h"

#include "event/worker.h"
#include "runner/sweeper.h"

/*
 * Launches a worker for one database, which drops what the role has there; InvalidOid:
 * all that runs have left there.  Returns its handle, palloc'd in the current memory
 * context; NULL if no worker is free.
 */
BackgroundWorkerHandle *
sweeper_launch(Oid database, Oid role)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;

	worker_describe(&worker, "sweeper", "sweep_main");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &role, sizeof(role));
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

/* Logs that no worker is free. */
void
sweeper_log_none(Oid database, const char *hint)
{
	ereport(LOG,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("pool_exhaust cannot clean up in database %u: no background worker is free", database),
			 errhint("%s", hint)));
}

/* Drops what the role has in another database, by a worker there, and returns when that has ended. */
void
sweeper_run(Oid database, Oid role)
{
	BackgroundWorkerHandle *handle = sweeper_launch(database, role);

	if (handle != NULL)
		(void) WaitForBackgroundWorkerShutdown(handle);
	else
		sweeper_log_none(database, "The next run does.  Raise max_worker_processes.");
}

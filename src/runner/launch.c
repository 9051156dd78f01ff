/*
 * launch.c
 *		How a runner comes to be.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "event/worker.h"
#include "runner/launch.h"

/*
 * Registers the runner, a background worker, for an entry of the run table.
 * Returns its handle, palloc'd in the current memory context; NULL if no worker is
 * free.
 */
BackgroundWorkerHandle *
runner_launch(int number)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	worker_describe(&worker, "runner", "runner_main");
	worker.bgw_main_arg = Int32GetDatum(number);
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_name, BGW_MAXLEN, "pool_exhaust runner %d", number + 1);
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

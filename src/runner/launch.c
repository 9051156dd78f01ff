/*
 * launch.c
 *		How a runner comes to be, and the descriptors that it may have.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "event/worker.h"
#include "runner/launch.h"
#include "shmem/request.h"

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

/* Makes room for that many sessions, and returns for how many there is. */
int
runner_raise_descriptors(int sessions)
{
	rlim_t		beside = SPARE_DESCRIPTORS + (rlim_t) max_files_per_process;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		elog(ERROR, "could not read the limit of open files: %m");
	if (limit.rlim_cur < sessions + beside)
	{
		limit.rlim_cur = Min(limit.rlim_max, sessions + beside);
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			elog(ERROR, "could not raise the limit of open files: %m");
	}
	return (int) Min(sessions, limit.rlim_cur - Min(limit.rlim_cur, SPARE_DESCRIPTORS));
}

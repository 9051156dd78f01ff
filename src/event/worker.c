/*
 * worker.c
 *		The background workers of pool_exhaust.
 */
#include "postgres.h"

#include "event/worker.h"

/*
 * Describes a worker that can use shared memory and catalogs, starts when the
 * server can write, and is not started again.  It shows as "pool_exhaust NAME".
 */
void
worker_describe(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "pool_exhaust", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	snprintf(worker->bgw_type, BGW_MAXLEN, "pool_exhaust %s", name);
	strlcpy(worker->bgw_name, worker->bgw_type, BGW_MAXLEN);
}

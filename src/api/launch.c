/*
 * launch.c
 *		What the SQL functions of runs and of holds have in common: arguments
 *		that must be there, and a runner for the entry that was claimed.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "api/launch.h"
#include "runner/launch.h"

/* ERROR if the n-th argument is NULL. */
void
arg_require(FunctionCallInfo fcinfo, int n, const char *name, const char *hint)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("%s", hint)));
}

/* Launches the runner of a claim and waits until it has started; ERROR if it cannot. */
BackgroundWorkerHandle *
launch_runner(const Claim *claim)
{
	BackgroundWorkerHandle *handle = runner_launch(claim->number);
	pid_t		pid;

	if (handle == NULL)
	{
		(void) run_entry_free(claim);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker is free for a runner"),
				 errdetail("max_worker_processes is %d.", max_worker_processes),
				 errhint("Raise max_worker_processes and restart the server, or wait until other workers have ended.")));
	}
	switch (WaitForBackgroundWorkerStartup(handle, &pid))
	{
		case BGWH_POSTMASTER_DIED:
			ereport(FATAL,
					(errcode(ERRCODE_ADMIN_SHUTDOWN),
					 errmsg("the postmaster has died")));
			break;
		case BGWH_STOPPED:
			/* It has ended already, or it never began and will not publish an end. */
			if (run_entry_free(claim))
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						 errmsg("the runner, a background worker, could not start"),
						 errhint("The server log says why.")));
			break;
		default:
			break;
	}
	return handle;
}

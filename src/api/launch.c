/*
 * launch.c
 *		What the SQL functions of runs and of holds have in common: arguments
 *		that must be there, and an entry of the run table with a runner for it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"

#include "api/launch.h"
#include "base/compat.h"
#include "runner/launch.h"

#define SWEEPER_TURN_MS		10
#define SWEEPER_TURNS		200

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

/*
 * Where no worker is free, but one is at work that cleans up, which takes a moment, waits
 * for that.  NULL if none is free nevertheless.
 */
static BackgroundWorkerHandle *
runner_launch_soon(int number)
{
	for (int turns = SWEEPER_TURNS;; turns--)
	{
		bool		sweeping = pg_atomic_read_u32(&shared->sweeping) != 0;
		BackgroundWorkerHandle *handle = runner_launch(number);

		if (handle != NULL || !sweeping || turns == 0)
			return handle;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, SWEEPER_TURN_MS,
						 compat_wait_event("PoolExhaustWait"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Launches the runner of a claim and waits until it has started; ERROR if it cannot. */
static BackgroundWorkerHandle *
launch_runner(const Claim *claim)
{
	BackgroundWorkerHandle *handle = runner_launch_soon(claim->number);
	BgwHandleStatus started;
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
	started = WaitForBackgroundWorkerStartup(handle, &pid);
	if (started == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("the postmaster has died")));
	/* It has ended already, or it never began and will not publish an end. */
	if (started == BGWH_STOPPED && run_entry_free(claim))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("the runner, a background worker, could not start"),
				 errhint("The server log says why.")));
	return handle;
}

/*
 * Claims an entry of the run table for the request, launches a runner for it and waits
 * until the run has reached "wanted" or ended; returns what is known of it then.
 * Relays its progress as notices if "relay" says so.  ERROR if there is no entry or no
 * runner; an ERROR while it waits stops the run.
 */
RunStatus
run_launch(const RunRequest *request, RunState wanted, bool relay)
{
	Claim		claim = run_entry_claim(request);
	RunStatus	view;

	PG_ENSURE_ERROR_CLEANUP(run_entry_abandon, PointerGetDatum(&claim));
	{
		BackgroundWorkerHandle *runner = launch_runner(&claim);

		view = run_entry_wait(&claim, wanted, NO_TIMEOUT, relay);
		if (view.state == RUN_ENDED)
			(void) WaitForBackgroundWorkerShutdown(runner); /* the next may need it */
	}
	PG_END_ENSURE_ERROR_CLEANUP(run_entry_abandon, PointerGetDatum(&claim));
	run_entry_release(&claim);
	return view;
}

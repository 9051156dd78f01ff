/*
 * runner.c
 *		The runner: one background worker, one process, one event loop a run.
 *
 * It makes the run's role, opens the pool and plays the scenario; then, however
 * the scenario ended, it closes everything, proves that nothing is left, drops
 * the role, writes the results and publishes the verdict.
 *
 * It holds a lock on the extension for as long as it runs.  A DROP EXTENSION
 * waits for that lock; the runner notices a waiter that may do that, ends, and so
 * makes way.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/text.h"
#include "event/descriptors.h"
#include "load/target/endpoint.h"
#include "observe/slots/census.h"
#include "observe/slots/ledger.h"
#include "request/options.h"
#include "request/run_table.h"
#include "runner/calibration.h"
#include "runner/clean_up.h"
#include "runner/identity.h"
#include "runner/results.h"
#include "runner/runner.h"
#include "runner/sub_runs.h"
#include "scenario/hold.h"
#include "scenario/list.h"
#include "scenario/repeat.h"
#include "shmem/monitor_status.h"
#include "shmem/run_pool.h"
#include "sql/connect.h"
#include "sql/extension.h"
#include "target/drivers.h"
#include "target/target.h"

/* For the lock on the extension; of more only these are considered. */
#define WAITERS_MAX		32

static Run *the_run;			/* of this process */
static bool published;			/* the entry may be another runner's by now */
static LOCKTAG extension_lock;
static Oid	extension_oid;
static Oid	extension_owner;
static bool extension_is_locked;

/* Publishes that the run is over and holds nothing, and wakes every waiter. */
static void
runner_publish(RunEntry *entry, Verdict verdict, int error_code, const char *reason)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&entry->connections, 0);
	entry->verdict = verdict;
	entry->too_busy = (verdict == VERDICT_INVALID || verdict == VERDICT_ABORTED) && the_run != NULL && the_run->too_busy;
	entry->error_code = error_code;
	strlcpy(entry->reason, reason, RUN_REASON_LEN);
	text_make_printable(entry->reason);
	memset(entry->roles, 0, sizeof(entry->roles));
	entry->state = RUN_ENDED;
	run_pools_write(entry, NULL, 0);
	LWLockRelease(shared->lock);
	published = true;
	ConditionVariableBroadcast(&entry->changed);
}

/* before_shmem_exit: a runner that exits early must not leave a waiter waiting. */
static void
runner_exit(int code, Datum arg)
{
	RunEntry   *entry = &shared->runs[DatumGetInt32(arg)];

	LWLockReleaseAll();
	LockReleaseAll(DEFAULT_LOCKMETHOD, true);	/* the session lock on the extension */
	sub_runs_forget(the_run);
	if (published)
		return;
	runner_publish(entry, VERDICT_ABORTED, ERRCODE_INTERNAL_ERROR,
				   "the runner ended early; the server log says why");
	pg_atomic_write_u32(&shared->sweep_wanted, 1);
	monitor_wake();
}

/* libpq takes what a login leaves open from the environment: leave nothing there. */
static void
runner_clean_environment(void)
{
	PQconninfoOption *options = PQconndefaults();

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
		if (o->envvar != NULL)
			unsetenv(o->envvar);
	PQconninfoFree(options);
}

/*
 * False if the hold is to end with the session that asked for it, and that session
 * has ended: if it ends in a hurry, it sends nothing.
 */
static bool
hold_owner_is_there(const HoldRequest *request)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[request->owner_number];
	PgBackendStatus *status;

	if (request->leaked)
		return true;
	if (((volatile PGPROC *) proc)->procLatch.owner_pid != request->owner_pid)
		return false;
	/* Another process may have the same pid and the same PGPROC by now. */
	status = compat_backend_status(proc);
	return status == NULL ||
		((volatile PgBackendStatus *) status)->st_proc_start_timestamp == request->owner_started;
}

/* Does a session wait for the lock on the extension that may alter or drop it? */
static bool
extension_waiter_may(void)
{
	LWLock	   *partition = LockHashPartitionLock(LockTagHashCode(&extension_lock));
	Oid			roles[WAITERS_MAX];
	int			n = 0;
	bool		may = false;

	LWLockAcquire(partition, LW_SHARED);
	for (uint32 i = 0; i < ProcGlobal->allProcCount && n < WAITERS_MAX; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		const LOCK *lock = proc->waitLock;

		if (lock != NULL && memcmp(&lock->tag, &extension_lock, sizeof(LOCKTAG)) == 0)
			roles[n++] = proc->roleId;
	}
	LWLockRelease(partition);
	StartTransactionCommand();
	for (int i = 0; i < n && !may; i++)
		may = is_member_of_role(roles[i], extension_owner);
	CommitTransactionCommand();
	return may;
}

/* Is it the one that is locked?  Needs a transaction. */
static bool
extension_is_there(void)
{
	Extension	extension;

	return extension_find(&extension) && extension.oid == extension_oid;
}

/* Takes the lock again, if that is possible now; returns false if the extension is gone. */
static bool
extension_lock_again(void)
{
	bool		there;

	if (LockAcquire(&extension_lock, AccessShareLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	extension_is_locked = true;
	StartTransactionCommand();
	there = extension_is_there();
	CommitTransactionCommand();
	return there;
}

/*
 * Returns whether the extension is being altered or dropped by a role that may do
 * so.  DROP EXTENSION takes the lock before it asks for that right: to one without it
 * the lock is left for a moment, so that it gets its error.  Runs that begin would
 * else wait behind it for the end of this one.
 */
static bool
extension_is_wanted(void)
{
	if (!extension_is_locked && !extension_lock_again())
		return true;
	if (!extension_is_locked || !LockHasWaiters(&extension_lock, AccessShareLock, true))
		return false;
	if (extension_waiter_may())
		return true;
	LockRelease(&extension_lock, AccessShareLock, true);
	extension_is_locked = false;
	return false;
}

/* Run.poll_end: what must end the run and sends no event. */
static const char *
runner_poll_end(Run *run)
{
	const char *why;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (request_is_hold(&run->request) && !hold_owner_is_there(&run->request.hold))
		return stop_reasons[STOP_OWNER_ENDED];
	if (run->request.parent != 0 && !run_entry_ticket_is_busy(run->request.parent))
		return stop_reasons[STOP_PARENT_ENDED];
	if (run->drivers != NULL && (why = drivers_why_lost(run)) != NULL)
		return why;
	if (extension_is_wanted())
		return "the extension is being altered or dropped";
	return NULL;
}

/* Takes the lock within lock_timeout: a role without the right may have it for a moment.  False if that is not possible. */
static bool
extension_lock_first(void)
{
	PG_TRY();
	{
		LockAcquire(&extension_lock, AccessShareLock, true, false);
		extension_is_locked = true;
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return extension_is_locked && extension_is_there();
}

static void
runner_lock_extension(void)
{
	Extension	extension;

	StartTransactionCommand();
	extension_require(&extension);
	extension_oid = extension.oid;
	extension_owner = extension.owner;
	SET_LOCKTAG_OBJECT(extension_lock, MyDatabaseId, ExtensionRelationId, extension_oid, 0);
	if (!extension_lock_first())
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("extension pool_exhaust is being altered or dropped")));
	CommitTransactionCommand();
}

static void
runner_make_run(RunEntry *entry)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust run",
												  ALLOCSET_DEFAULT_SIZES);
	Run		   *run = MemoryContextAllocZero(context, sizeof(Run));

	run->context = context;
	run->entry = entry;
	run->request = entry->request;
	run->scenario = request_is_hold(&run->request) ? &scenario_hold : scenario_find(run->request.scenario);
	run->options = options_in_force(&run->request, run->scenario);
	run->left_to_target = options_left_to_target(&run->request, run->scenario);
	run->poll_end = runner_poll_end;
	run->target = target_types[run->request.target];
	run->sub_run_methods = &sub_run_methods;
	run->started_us = loop_now_us();
	run->started_at = GetCurrentTimestamp();
	run->deadline_us = run->started_us + repeat_time_ms(&run->request, &run->options) * 1000;
	run->refused_before = ledger_slot_refusals_ever();
	the_run = run;

	StartTransactionCommand();
	run->database = run->options.database[0] != '\0'
		? run->options.database
		: MemoryContextStrdup(context, get_database_name(MyDatabaseId));
	run->superuser = MemoryContextStrdup(context, GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false));
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	initStringInfo(&run->health_path);
	initStringInfo(&run->watch.path);
}

/* Or else it only starts others. */
static bool
run_has_pools(const Run *run)
{
	return scenario_has_pools(run->scenario) && !request_repeats(&run->request);
}

/*
 * From here on the run exists: it has an id and a row.  A hold gets neither, and
 * is not visible in any view until it is complete.
 */
static void
runner_begin(Run *run)
{
	bool		is_hold = request_is_hold(&run->request);
	int64		id = is_hold ? 0 : results_begin(run);
	RunEntry   *entry = run->entry;

	MemoryContextSwitchTo(run->context);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry->run_id = id;
	entry->runner_pid = MyProcPid;
	entry->started_at = run->started_at;
	entry->state = is_hold ? RUN_STARTING : RUN_RUNNING;
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&entry->changed);
}

static void
runner_open_party(Run *run, int number, int n)
{
	RunParty   *party = &run->parties[n];

	if (run->target->open != NULL)
	{
		run->target->open(run, n);
		return;
	}
	party->login = palloc0(sizeof(Login));
	identity_create(run, number, n);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	run->entry->roles[n] = party->role;
	LWLockRelease(shared->lock);

	/* The login that found the way in gives its slot back first. */
	poll_until(run, census_role_sessions(party->role, NULL, 0) == 0, login_ms(run));
}

static void
runner_open_parties(Run *run, int number)
{
	run->nparties = run_has_pools(run) ? scenario_parties(run->scenario) : 0;
	for (int i = 0; i < run->nparties; i++)
	{
		RunParty   *party = &run->parties[i];

		runner_open_party(run, number, i);
		if (run->options.chaos > 0)
			chaos_concern(&run->chaos, party->login, party->role, &party->chaos_counts);
	}
}

static void
runner_open_pools(Run *run)
{
	const Options *options = &run->options;

	if (run->target->in_process || run->scenario->embedded != 0)
		descriptors_raise((options->pool_size + options->max_overflow) * run->nparties);
	for (int i = 0; i < run->nparties; i++)
	{
		RunParty   *party = &run->parties[i];

		party->pool = party_is_embedded(run, i) ? target_pool.pool(run, party)
			: run->options.drivers.n > 0 ? drivers_open(run, party) : run->target->pool(run, party);
		releases_begin(&party->releases, loop_now_us());
		strlcpy(party->published.kind, party->pool->type->kind, sizeof(party->published.kind));
		if (party->endpoint != NULL && !party_is_embedded(run, i))
			strlcpy(party->published.name, party->endpoint->name, NAMEDATALEN);
		else
			snprintf(party->published.name, NAMEDATALEN, "run " INT64_FORMAT "%s", run->entry->run_id,
					 run->nparties == 1 ? "" : i == 0 ? " first" : " second");
	}
	run->pool = run->parties[0].pool;
}

static void
runner_open(Run *run, int number)
{
	bool		service = run->target->open_service != NULL && run_has_pools(run);

	loop_open(&run->loop, "PoolExhaustRunner");
	alarm_clock_open(&run->clock, &run->loop);
	if (!service)
	{
		runner_open_parties(run, number);
		workload_try(run);		/* what is unfit for a run needs no measure of the machine */
		phase_end(run);
	}
	if (!request_is_hold(&run->request))
		calibrate(run);
	if (service)
		run->target->open_service(run);
	else
		runner_open_pools(run);
}

/*
 * Plays the scenario.  An ERROR ends it: run_end() has set the verdict then, and
 * any other error aborts the run with its own message.
 */
static void
runner_play(Run *run, int number)
{
	PG_TRY();
	{
		runner_open(run, number);
		if (run_has_pools(run))
			run_begin_chaos(run);
		if (run_has_pools(run) && !request_is_hold(&run->request))
			run_begin_lateness(run);
		if (request_repeats(&run->request))
			repeat_play(run);
		else
			run->scenario->play(run);
		phase_end(run);
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(run->context, DEBUG1);

		if (run->verdict == VERDICT_NONE)
		{
			run->verdict = VERDICT_ABORTED;
			snprintf(run->reason, sizeof(run->reason), "%s %s",
					 unpack_sql_state(error->sqlerrcode), error->message);
		}
		if (run->error_code == 0)
			run->error_code = error->sqlerrcode;
	}
	PG_END_TRY();
	run_end_lateness(run);
}

/* Has nothing failed but what a machine breaks that is as busy as this one was? */
static bool
runner_was_too_busy(const Run *run)
{
	for (int i = 0; i < run->nchecks; i++)
		if (run->checks[i].outcome == OUTCOME_FAIL && claim_is_proved(run, &run->checks[i]))
			return false;
	return true;
}

/* A grant that is as slow as the caller says may stay within the limits: the claims decide. */
static bool
fault_may_pass(const Options *options)
{
	return options->fault == FAULT_SLOW_GRANT && options->fault_ms > 0;
}

static void
runner_judge(Run *run)
{
	const char *broken_by = clock_set_text(run);
	StringInfoData failed;

	if (run->verdict != VERDICT_NONE)
		return;
	initStringInfo(&failed);
	for (int i = 0; i < run->nchecks; i++)
		if (run->checks[i].outcome == OUTCOME_FAIL)
			appendStringInfo(&failed, "%s%s", failed.len > 0 ? ", " : "failed: ", run->checks[i].name);
	if (failed.len == 0 && run->ledger_blind)
	{
		run->verdict = VERDICT_INVALID;
		strlcpy(run->reason, LEDGER_BLIND, sizeof(run->reason));
		return;
	}
	if (failed.len == 0 && run->options.fault != FAULT_NONE && !fault_may_pass(&run->options))
	{
		run->verdict = VERDICT_INVALID;
		strlcpy(run->reason, "the deliberate fault broke nothing: this scenario does not try what it concerns",
				sizeof(run->reason));
		return;
	}
	if (failed.len > 0 && run->reason[0] != '\0')
		appendStringInfo(&failed, "; %s", run->reason);
	if (broken_by == NULL)
		broken_by = session_limit_text(run);
	if (failed.len > 0 && broken_by != NULL)
	{
		run->verdict = VERDICT_INVALID;
		snprintf(run->reason, sizeof(run->reason), "%s; %s", broken_by, failed.data);
		return;
	}
	if (failed.len > 0 && runner_was_too_busy(run))
	{
		run->verdict = VERDICT_INVALID;
		run->too_busy = true;
		snprintf(run->reason, sizeof(run->reason), "the machine was too busy: %s; %s", lateness_text(run), failed.data);
		return;
	}
	run->verdict = failed.len > 0 ? VERDICT_FAIL : VERDICT_PASS;
	strlcpy(run->reason, failed.data, sizeof(run->reason));
}

/* A run whose results cannot be written still publishes its verdict. */
static void
runner_write_results(Run *run)
{
	PG_TRY();
	{
		results_finish(run);
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(run->context, LOG);
		size_t		len = strlen(run->reason);

		snprintf(run->reason + len, sizeof(run->reason) - len, "%sthe results could not be written: %s %s",
				 len > 0 ? "; " : "", unpack_sql_state(error->sqlerrcode), error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(run->context);
}

/* What becomes of a run when its story is over. */
static void
runner_end(Run *run)
{
	clean_up(run);
	run_report_lateness(run);
	runner_judge(run);
	text_make_printable(run->reason);
	runner_write_results(run);
	runner_publish(run->entry, run->verdict, 0, run->reason);
}

/* Logs the end of a hold: as a rule no session waits for it. */
static void
hold_log_end(const Run *run)
{
	if (run->verdict == VERDICT_FAIL)
		ereport(WARNING,
				(errmsg("pool_exhaust: the clean-up of hold " INT64_FORMAT " could not be proved: %s",
						run->entry->hold_id, run->reason)));
	else if (run->entry->held_at != 0)
		ereport(LOG,
				(errmsg("pool_exhaust: hold " INT64_FORMAT " has ended: %s",
						run->entry->hold_id, run->reason)));
}

/* A hold is not judged, and not recorded.  How many connections its end closes is for pool_exhaust_release(). */
static void
runner_end_hold(Run *run)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	run->entry->closed = (int) pg_atomic_read_u32(&run->entry->connections);
	LWLockRelease(shared->lock);
	clean_up(run);
	text_make_printable(run->reason);
	hold_log_end(run);
	runner_publish(run->entry, run->verdict, run->error_code, run->reason);
}

/* Before the run exists an error is the caller's to see, with its SQLSTATE. */
static bool
runner_start(RunEntry *entry)
{
	volatile bool started = false;

	PG_TRY();
	{
		runner_clean_environment();
		runner_lock_extension();
		runner_make_run(entry);
		runner_begin(the_run);
		started = true;
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(TopMemoryContext, DEBUG1);

		runner_publish(entry, VERDICT_ABORTED, error->sqlerrcode, error->message);
	}
	PG_END_TRY();
	return started;
}

/*
 * lock_timeout comes as a SIGINT of this process to itself, and only a cancel
 * ends the wait for the lock; from another process SIGINT asks for an orderly end.
 */
static void
runner_interrupt(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(compat_signal_args);
	else
		SignalHandlerForShutdownRequest(compat_signal_args);
}

void
runner_main(Datum arg)
{
	RunEntry   *entry = &shared->runs[DatumGetInt32(arg)];

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, runner_interrupt);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	before_shmem_exit(runner_exit, arg);
	BackgroundWorkerUnblockSignals();
	worker_connect(entry->database, NULL, 0);

	if (!runner_start(entry))
		proc_exit(0);
	pgstat_report_appname(RUN_APPLICATION_NAME);
	runner_play(the_run, DatumGetInt32(arg));
	if (request_is_hold(&the_run->request))
		runner_end_hold(the_run);
	else
		runner_end(the_run);
	proc_exit(0);
}

/*
 * runner.c
 *		The runner: one background worker, one process, one event loop a run.
 *
 * It makes the run's role, opens the pool and tells the story; then, however
 * the story ended, it lets go of everything, proves that nothing is left,
 * drops the role, writes the results and publishes the verdict.
 *
 * It holds a lock on the extension for as long as it runs.  Whoever wants to
 * drop the extension waits for it; the runner sees that, gives up, and so lets
 * the other go on.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "api/hold.h"
#include "event/worker.h"
#include "load/target/endpoint.h"
#include "observe/hooks/refusal.h"
#include "observe/slots/census.h"
#include "request/extension.h"
#include "request/run_table.h"
#include "runner/clean_up.h"
#include "runner/foreign_target.h"
#include "runner/identity.h"
#include "runner/results.h"
#include "runner/runner.h"
#include "runner/sub_runs.h"
#include "scenario/hold.h"
#include "shmem/run_pool.h"

static Run *the_run;			/* of this process */
static bool published;			/* the place may be another runner's by now */
static LOCKTAG extension_lock;

/* Starts the runner for a place in shared memory; NULL if no worker is free. */
BackgroundWorkerHandle *
runner_launch(int place)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	worker_describe(&worker, "runner", "runner_main");
	worker.bgw_main_arg = Int32GetDatum(place);
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_name, BGW_MAXLEN, "pool_exhaust runner %d", place + 1);
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

/* Tells everybody who waits that the run is over and holds nothing. */
static void
runner_publish(RunSlot *slot, Verdict verdict, int error_code, const char *reason)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&slot->connections, 0);
	slot->verdict = verdict;
	slot->error_code = error_code;
	strlcpy(slot->reason, reason, RUN_REASON_LEN);
	memset(slot->roles, 0, sizeof(slot->roles));
	slot->state = RUN_ENDED;
	run_pools_write(slot, NULL, 0);
	LWLockRelease(shared->lock);
	published = true;
	ConditionVariableBroadcast(&slot->changed);
}

/* before_shmem_exit: a runner that dies early must not leave others waiting. */
static void
runner_exit(int code, Datum arg)
{
	RunSlot    *slot = &shared->runs[DatumGetInt32(arg)];

	LWLockReleaseAll();
	LockReleaseAll(DEFAULT_LOCKMETHOD, true);	/* the session lock on the extension */
	children_forget(the_run);
	if (!published)
		runner_publish(slot, VERDICT_ABORTED, ERRCODE_INTERNAL_ERROR,
					   "the runner ended early; the server log says why");
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

/* Run.look_out: looks at what no event tells. */
static const char *
runner_look_out(Run *run)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (plan_is_hold(&run->plan) && !hold_owner_is_there(&run->plan.hold))
		return "the session that asked for the hold has ended";
	if (run->plan.parent != 0 && !place_ticket_is_busy(run->plan.parent))
		return PARENT_ENDED;
	if (LockHasWaiters(&extension_lock, AccessShareLock, true))
		return "the extension is being altered or dropped";
	return NULL;
}

static void
runner_lock_extension(void)
{
	Extension	extension;

	StartTransactionCommand();
	extension_require(&extension);
	SET_LOCKTAG_OBJECT(extension_lock, MyDatabaseId, ExtensionRelationId, extension.oid, 0);
	CommitTransactionCommand();
	if (LockAcquire(&extension_lock, AccessShareLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("extension pool_exhaust is being altered or dropped")));
}

static void
runner_make_run(RunSlot *slot)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust run",
												  ALLOCSET_DEFAULT_SIZES);
	Run		   *run = MemoryContextAllocZero(context, sizeof(Run));
	Extension	extension;

	run->context = context;
	run->slot = slot;
	run->plan = slot->plan;
	run->scenario = plan_is_hold(&run->plan) ? &scenario_hold : scenario_find(run->plan.scenario);
	run->look_out = runner_look_out;
	run->child_runs = &child_runs;
	run->started_us = loop_now_us();
	run->deadline_us = run->started_us + run->plan.options.timeout_ms * 1000;
	run->refused_before = refusal_count_slots();
	the_run = run;

	StartTransactionCommand();
	run->database = run->plan.options.database[0] != '\0'
		? run->plan.options.database
		: MemoryContextStrdup(context, get_database_name(MyDatabaseId));
	extension_require(&extension);
	run->schema = MemoryContextStrdup(context, extension.schema);
	run->superuser = MemoryContextStrdup(context, GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false));
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/*
 * From here on the run exists: it has an id and a row.  A hold gets neither, and
 * is not there for others until it is complete.
 */
static void
runner_begin(Run *run)
{
	bool		is_hold = plan_is_hold(&run->plan);
	int64		id = is_hold ? 0 : results_begin(run);
	RunSlot    *slot = run->slot;

	MemoryContextSwitchTo(run->context);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->run_id = id;
	slot->runner_pid = MyProcPid;
	slot->started_at = GetCurrentTimestamp();
	slot->state = is_hold ? RUN_STARTING : RUN_RUNNING;
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&slot->changed);
}

/* The pools of this server: its slots, or what the limit of a role leaves. */
static Pool *
runner_server_pool(Run *run, const RunService *service)
{
	const Options *options = &run->plan.options;
	ServerPoolConfig config = {
		.driver = run->plan.target == TARGET_ROLE ? &pool_role : &pool_server,
		.loop = &run->loop,
		.login = service->login,
		.role = service->role,
		.limit = options->role_limit,
		.handshakes = options->handshakes,
		.timeout_ms = Min(LOGIN_TIMEOUT_MS, options->timeout_ms),
		.sessions_max = MaxConnections + options->handshakes,
	};

	if (plan_is_hold(&run->plan))
		config.sessions_max = hold_sessions(&run->plan.hold);

	runner_raise_descriptors(config.sessions_max);
	return pool_open_server(&config);
}

/* An application-style pool.  A grant that is too slow is so by a tenth, and whatever chaos excuses. */
static Pool *
runner_embedded_pool(Run *run, const RunService *service)
{
	const Options *options = &run->plan.options;
	EmbeddedPoolConfig config = {
		.loop = &run->loop,
		.clock = &run->clock,
		.login = service->login,
		.handshakes = options->handshakes,
		.pool_size = options->pool_size,
		.max_overflow = options->max_overflow,
		.timeout_ms = options->pool_timeout_ms,
		.max_waiting = options->max_waiting,
		.idle_order = (IdleOrder) options->idle_order,
		.max_lifetime_ms = options->max_lifetime_ms,
		.connect_timeout_ms = options->connect_timeout_ms,
		.fault = (Fault) options->fault,
		.slow_grant_ms = Max(options->latency_limit_ms, options->response_limit_ms) * 11 / 10 + run_chaos_ms(run),
	};

	return pool_open_embedded(&config);
}

static void
runner_open_service(Run *run, int place, int n)
{
	RunService *service = &run->services[n];

	if (!run_is_local(run))
	{
		aim_open(run, n);
		return;
	}
	service->login = palloc0(sizeof(Login));
	identity_create(run, place, n);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	run->slot->roles[n] = service->role;
	LWLockRelease(shared->lock);

	/* The login that found the way in gives its slot back first. */
	poll_until(run, census_role_sessions(service->role, NULL, 0) == 0, LOGIN_TIMEOUT_MS);
}

static void
runner_open_pools(Run *run)
{
	const Options *options = &run->plan.options;

	if (run->plan.target == TARGET_POOL || run->scenario->embedded != 0)
		runner_raise_descriptors((options->pool_size + options->max_overflow) * run->nservices);
	for (int i = 0; i < run->nservices; i++)
	{
		RunService *service = &run->services[i];

		service->pool = run->plan.target == TARGET_POOL || service_is_embedded(run, i)
			? runner_embedded_pool(run, service)
			: run_is_local(run) ? runner_server_pool(run, service) : aim_pool(run, service);
		releases_begin(&service->releases, loop_now_us());
		strlcpy(service->published.kind, service->pool->driver->kind, sizeof(service->published.kind));
		if (service->endpoint != NULL && !service_is_embedded(run, i))
			strlcpy(service->published.name, service->endpoint->name, NAMEDATALEN);
		else
			snprintf(service->published.name, NAMEDATALEN, "run " INT64_FORMAT "%s", run->slot->run_id,
					 run->nservices == 1 ? "" : i == 0 ? " first" : " second");
	}
	run->pool = run->services[0].pool;
}

static void
runner_open(Run *run, int place)
{
	loop_open(&run->loop, "PoolExhaustRunner");
	alarm_clock_open(&run->clock, &run->loop);
	if (run->plan.target == TARGET_HTTP && scenario_has_pools(run->scenario))
	{
		aim_open_service(run);
		return;
	}
	run->nservices = scenario_services(run->scenario);
	for (int i = 0; i < run->nservices; i++)
	{
		RunService *service = &run->services[i];

		runner_open_service(run, place, i);
		if (run->plan.options.chaos > 0)
			chaos_concern(&run->chaos, service->login, service->role, &service->toll);
	}
	workload_try(run);
	runner_open_pools(run);
}

/*
 * Tells the story.  An ERROR ends it: run_end() has set the verdict then, and
 * whatever else goes wrong aborts the run with its own message.
 */
static void
runner_play(Run *run, int place)
{
	PG_TRY();
	{
		runner_open(run, place);
		if (scenario_has_pools(run->scenario))
			run_begin_chaos(run);
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
}

static void
runner_judge(Run *run)
{
	StringInfoData failed;

	if (run->verdict != VERDICT_NONE)
		return;
	initStringInfo(&failed);
	for (int i = 0; i < run->nchecks; i++)
		if (run->checks[i].outcome == OUTCOME_FAIL)
			appendStringInfo(&failed, "%s%s", failed.len > 0 ? ", " : "failed: ", run->checks[i].name);
	if (failed.len == 0 && run->plan.options.fault != FAULT_NONE)
	{
		run->verdict = VERDICT_INVALID;
		strlcpy(run->reason, "the deliberate fault broke nothing: this scenario does not try what it concerns",
				sizeof(run->reason));
		return;
	}
	if (failed.len > 0 && run->reason[0] != '\0')
		appendStringInfo(&failed, "; %s", run->reason);
	run->verdict = failed.len > 0 ? VERDICT_FAIL : VERDICT_PASS;
	strlcpy(run->reason, failed.data, sizeof(run->reason));
}

/* A run whose results cannot be written still tells its verdict. */
static void
runner_write_results(Run *run)
{
	PG_TRY();
	{
		results_finish(run);
	}
	PG_CATCH();
	{
		error_catch(run->context, LOG);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(run->context);
}

/* What becomes of a run when its story is over. */
static void
runner_end(Run *run)
{
	clean_up(run);
	runner_judge(run);
	runner_write_results(run);
	runner_publish(run->slot, run->verdict, 0, run->reason);
}

/* A hold is not judged, and not recorded. */
static void
runner_end_hold(Run *run)
{
	hold_end_begins(run->slot);
	clean_up(run);
	hold_log_end(run);
	runner_publish(run->slot, run->verdict, run->error_code, run->reason);
}

/* Before the run exists an error is the caller's to see, with its SQLSTATE. */
static bool
runner_start(RunSlot *slot)
{
	volatile bool started = false;

	PG_TRY();
	{
		transaction_set_gucs();
		runner_clean_environment();
		runner_lock_extension();
		runner_make_run(slot);
		runner_begin(the_run);
		started = true;
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(TopMemoryContext, DEBUG1);

		runner_publish(slot, VERDICT_ABORTED, error->sqlerrcode, error->message);
	}
	PG_END_TRY();
	return started;
}

/*
 * lock_timeout comes as a SIGINT of this process to itself, and only a cancel
 * ends the wait for the lock; from anybody else SIGINT asks for an orderly end.
 */
static void
runner_interrupt(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(postgres_signal_arg);
	else
		SignalHandlerForShutdownRequest(postgres_signal_arg);
}

void
runner_main(Datum arg)
{
	RunSlot    *slot = &shared->runs[DatumGetInt32(arg)];

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, runner_interrupt);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	before_shmem_exit(runner_exit, arg);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(slot->database, InvalidOid, 0);

	if (!runner_start(slot))
		proc_exit(0);
	pgstat_report_appname(RUN_APPLICATION_NAME);
	runner_play(the_run, DatumGetInt32(arg));
	if (plan_is_hold(&the_run->plan))
		runner_end_hold(the_run);
	else
		runner_end(the_run);
	proc_exit(0);
}

/*
 * monitor.c
 *		The monitor: one worker that watches, remembers and answers.
 *
 * A background worker takes no slot, so it sees and serves while the server is
 * full.  It looks at every sample interval, and out of turn when somebody was
 * refused.  What it remembers stands in shared memory and outlives it.
 *
 * It connects to no database: only so can every database be dropped.  Shared
 * catalogs can be read nevertheless.  Any ERROR ends the process, also from
 * within a callback of libuv or libmicrohttpd, and the postmaster starts it
 * again; nothing that a client sends may cause one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "history.h"
#include "http.h"
#include "loop.h"
#include "monitor.h"
#include "sight.h"
#include "transition.h"

/* The longest wait when there is nothing to do. */
#define IDLE_TURN_MS		60000

/* While refusals go on it looks this often, and no oftener. */
#define REFUSED_LOOK_MS		20

/* What is answered may be this old. */
#define ANSWER_AGE_US			10000

/* Samples may be late by this much on a machine that is busy. */
#define LATE_US				(2 * INT64CONST(1000000))

#define RESTART_S			1

int			sample_interval = 200;

static bool monitor_on = true;
static void (*monitor_on_start) (void);

static MemoryContext turn_context;
static Loop loop;
static uv_timer_t sample_timer;
static uv_timer_t refused_timer;
static bool sample_due;
static bool refused_due;
static uint64 refusals_seen;

void
monitor_gucs_init(void)
{
	DefineCustomBoolVariable("pool_exhaust.monitor",
							 "Lets the monitor take samples and answer over HTTP.",
							 NULL,
							 &monitor_on, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pool_exhaust.sample_interval",
							"Time between two samples of the monitor.",
							NULL,
							&sample_interval, 200, 10, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * To be called from _PG_init while shared_preload_libraries is processed.
 * "on_start" is called once in the monitor, as soon as the server can write.
 */
void
monitor_init(void (*on_start) (void))
{
	BackgroundWorker worker = {0};

	monitor_on_start = on_start;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = RESTART_S;
	strlcpy(worker.bgw_library_name, "pool_exhaust", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "monitor_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pool_exhaust monitor", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "pool_exhaust monitor", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
monitor_wake(void)
{
	uint32		number = pg_atomic_read_u32(&shared->monitor);

	if (number != 0 && pg_atomic_exchange_u32(&shared->attention, 0) != 0)
		SetLatch(&ProcGlobal->allProcs[number - 1].procLatch);
}

bool
monitor_is_fresh(const Observed *observed)
{
	return monitor_on && observed->sampled_us != 0 &&
		loop_now_us() < observed->sampled_us + 2 * sample_interval * INT64CONST(1000) + LATE_US;
}

static uint64
refusals_total(void)
{
	uint64		sum = 0;

	for (int i = 0; i < CAUSES; i++)
		sum += pg_atomic_read_u64(&shared->refusals[i].refusals);
	return sum;
}

/* Looks once; a regular look completes a sample. */
static void
monitor_look(bool regular)
{
	MemoryContext old = CurrentMemoryContext;
	const Sight *sight;

	refusals_seen = refusals_total();
	StartTransactionCommand();
	sight = sight_take();
	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	pools_judge(sight->pools, regular);
	history_note(sight->by_state);
	if (regular)
		history_close_row();
	LWLockRelease(shared->observe_lock);
	services_remember(sight->services);
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	transitions_tell();
}

void
monitor_refresh(void)
{
	if (loop_now_us() > shared->observed.sampled_us + ANSWER_AGE_US)
		monitor_look(false);
}

static void
sample_timer_fired(uv_timer_t *timer)
{
	sample_due = true;
}

static void
refused_timer_fired(uv_timer_t *timer)
{
	refused_due = true;
}

/*
 * Somebody was refused: looks at once, and again for as long as that goes on.
 * Wants to be woken again only then, so that a storm of refusals cannot keep it
 * busy.
 */
static void
monitor_attend(void)
{
	if (refused_due)
	{
		refused_due = false;
		pg_atomic_write_u32(&shared->attention, 1);
		pg_memory_barrier();
		if (refusals_total() == refusals_seen)
			return;
		pg_atomic_write_u32(&shared->attention, 0);
	}
	else if (pg_atomic_read_u32(&shared->attention) != 0 ||
			 uv_is_active((uv_handle_t *) &refused_timer))
		return;
	monitor_look(false);
	uv_timer_start(&refused_timer, refused_timer_fired, REFUSED_LOOK_MS, 0);
}

/* Does what the settings say now. */
static void
monitor_configure(void)
{
	uv_update_time(&loop.uv);
	if (!monitor_on)
		uv_timer_stop(&sample_timer);
	else if (!uv_is_active((uv_handle_t *) &sample_timer) ||
			 uv_timer_get_repeat(&sample_timer) != sample_interval)
	{
		sample_due = true;
		uv_timer_start(&sample_timer, sample_timer_fired, sample_interval, sample_interval);
	}
	http_configure(monitor_on);
}

static void
monitor_turn(void)
{
	/* Transactions leave another context current than they found. */
	MemoryContextReset(turn_context);
	MemoryContextSwitchTo(turn_context);
	loop_turn(&loop, IDLE_TURN_MS);
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		monitor_configure();
	}
	if (monitor_on_start != NULL && !RecoveryInProgress())
	{
		monitor_on_start();
		monitor_on_start = NULL;
	}
	if (monitor_on && sample_due)
		monitor_look(true);
	sample_due = false;
	if (monitor_on)
		monitor_attend();
}

static void
monitor_exit(int code, Datum arg)
{
	pg_atomic_write_u32(&shared->monitor, 0);
}

void
monitor_main(Datum arg)
{
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(monitor_exit, (Datum) 0);

	loop_open(&loop, "PoolExhaustMonitor");
	uv_timer_init(&loop.uv, &sample_timer);
	uv_timer_init(&loop.uv, &refused_timer);
	sight_init();
	transitions_skip();
	http_init(&loop);
	monitor_configure();
	pg_atomic_write_u32(&shared->attention, 1);
	pg_atomic_write_u32(&shared->monitor, MyProc - ProcGlobal->allProcs + 1);

	turn_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust monitor turn",
										 ALLOCSET_DEFAULT_SIZES);
	/* The first turn is to start what was configured, and not to wait. */
	SetLatch(MyLatch);
	while (!ShutdownRequestPending)
		monitor_turn();

	/* Only a worker that ends with 1 is started again, unless the server stops. */
	proc_exit(1);
}

/*
 * monitor.c
 *		The monitor: one worker that watches, remembers and answers.
 *
 * A background worker takes no slot, so it sees and serves while the server is
 * full.  It observes at every sample interval, and out of turn when a login was
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
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "event/loop.h"
#include "event/worker.h"
#include "observe/monitor/drive_watch.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/health_log.h"
#include "observe/monitor/http/listener.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/monitor.h"
#include "observe/monitor/recorder.h"
#include "observe/monitor/snapshot.h"
#include "observe/monitor/timeline.h"
#include "observe/slots/ledger.h"
#include "shmem/monitor_status.h"

/* The longest wait when there is nothing to do. */
#define IDLE_TURN_MS		60000

/* While refusals go on it observes this often, and no oftener. */
#define REFUSED_OBSERVE_MS		20

/* What is answered may be this old. */
#define ANSWER_AGE_US		10000

#define RESTART_S			1

static void (*monitor_sweep) (bool again);

static MemoryContext turn_context;
static Loop loop;
static uv_timer_t sample_timer;
static uv_timer_t refused_timer;
static bool sample_due;
static bool refused_due;
static uint64 refusals_seen;

/*
 * To be called from _PG_init while shared_preload_libraries is processed.
 * "sweep" is called at each turn of the monitor while the server can write; "again"
 * is true for the first, and when a run may have left something behind.
 */
void
monitor_init(void (*sweep) (bool again))
{
	BackgroundWorker worker;

	/* pg_upgrade wants the server to itself, and the port is another server's. */
	if (IsBinaryUpgrade)
		return;
	monitor_sweep = sweep;
	worker_describe(&worker, "monitor", "monitor_main");
	worker.bgw_start_time = BgWorkerStart_ConsistentState;	/* on a standby too */
	worker.bgw_restart_time = RESTART_S;
	RegisterBackgroundWorker(&worker);
}

/* Observes once; a regular observation completes a sample. */
static void
monitor_observe(bool regular)
{
	MemoryContext old = CurrentMemoryContext;
	const MonitorSnapshot *snapshot;

	refusals_seen = ledger_refusals_ever();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	snapshot = snapshot_take();
	if (regular)
		leak_detector_read_clients(snapshot->slots);
	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	pools_judge(snapshot->pools, list_length(snapshot->limits), regular);
	timeline_note(snapshot->by_state);
	if (regular)
	{
		timeline_close_row();
		leak_detector_observe(snapshot->slots);
	}
	LWLockRelease(shared->observe_lock);
	if (regular)
	{
		services_remember(snapshot->services);
		heal_suspects(snapshot);
	}
	recorder_observe(snapshot, regular);
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
}

/* Before an HTTP response: observes, unless the last observation is recent. */
static void
monitor_refresh(void)
{
	if (loop_now_us() > shared->observed.sampled_us + ANSWER_AGE_US)
		monitor_observe(false);
}

static void
timer_fired(uv_timer_t *timer)
{
	*(bool *) timer->data = true;
}

/*
 * A login was refused: observes at once, and again for as long as that goes on.
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
		if (ledger_refusals_ever() == refusals_seen)
			return;
		pg_atomic_write_u32(&shared->attention, 0);
	}
	else if (pg_atomic_read_u32(&shared->attention) != 0 ||
			 uv_is_active((uv_handle_t *) &refused_timer))
		return;
	monitor_observe(false);
	uv_timer_start(&refused_timer, timer_fired, REFUSED_OBSERVE_MS, 0);
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
		uv_timer_start(&sample_timer, timer_fired, sample_interval, sample_interval);
	}
	http_configure(monitor_on);
	recorder_configure();
	ledger_note_blindness();
	leak_detector_note_limits();
}

static void
monitor_turn(void)
{
	/* Transactions leave another context current than they found. */
	MemoryContextReset(turn_context);
	MemoryContextSwitchTo(turn_context);
	loop_turn(&loop, IDLE_TURN_MS);
	if (ProcDiePending)
		return;
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		monitor_configure();
	}
	if (!RecoveryInProgress())
		monitor_sweep(pg_atomic_exchange_u32(&shared->sweep_wanted, 0) != 0);
	if (monitor_on && sample_due)
		monitor_observe(true);
	sample_due = false;
	if (monitor_on)
		monitor_attend();
	drive_watch_turn();
	health_log_write();
	heal_log_write();
}

static void
monitor_exit(int code, Datum arg)
{
	pg_atomic_write_u32(&shared->monitor, 0);
}

void
monitor_main(Datum arg)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, PG_SIG_IGN);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(monitor_exit, (Datum) 0);

	loop_open(&loop, "PoolExhaustMonitor");
	uv_timer_init(&loop.uv, &sample_timer);
	sample_timer.data = &sample_due;
	uv_timer_init(&loop.uv, &refused_timer);
	refused_timer.data = &refused_due;
	drive_watch_init(&loop);
	snapshot_init();
	health_log_skip();
	leak_detector_init();
	heal_log_skip();
	http_init(&loop, monitor_refresh);
	monitor_configure();
	pg_atomic_write_u32(&shared->sweep_wanted, 1);
	pg_atomic_write_u32(&shared->attention, 1);
	pg_atomic_write_u32(&shared->monitor, MyProc - ProcGlobal->allProcs + 1);

	turn_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust monitor turn",
										 ALLOCSET_DEFAULT_SIZES);
	/* The first turn is to start what was configured, and not to wait. */
	SetLatch(MyLatch);
	while (!ProcDiePending)
		monitor_turn();
	recorder_end();

	/* Only a worker that ends with 1 is started again, unless the server stops. */
	proc_exit(1);
}

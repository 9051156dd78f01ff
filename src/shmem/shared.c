/*
 * shared.c
 *		Asks for the shared memory of pool_exhaust and sets it up.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "shmem/shared.h"

#define TRANCHE "pool_exhaust"

PoolExhaustShared *shared = NULL;
LeakSession *leak_sessions = NULL;
LeakGroup  *leak_groups = NULL;
SessionSlot *session_slots = NULL;
int			timeline_length = 18000;

const char *const verdict_names[] = {VERDICT_LIST(LIST_WORD)};
const char *const stop_reasons[] = {STOP_LIST(LIST_WORD)};
const char *const pool_kind_names[] = {POOL_KIND_LIST(LIST_WORD)};

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(PoolExhaustShared, timeline),
					mul_size(timeline_length, sizeof(TimelineRow)));
}

/* What there is of each slot: the leak session, and what its session says of itself. */
static Size
slots_size(void)
{
	return add_size(mul_size(MaxConnections, sizeof(LeakSession) + sizeof(SessionSlot)),
					mul_size(leak_groups_max(MaxConnections), sizeof(LeakGroup)));
}

static void
shared_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(shared_size()));
	RequestAddinShmemSpace(MAXALIGN(slots_size()));
	RequestNamedLWLockTranche(TRANCHE, 2);
}

static void
names_init(NameTable *table)
{
	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = &table->entries[i];

		pg_atomic_init_u32(&entry->state, NAME_EMPTY);
		pg_atomic_init_u32(&entry->peak, 0);
		pg_atomic_init_u64(&entry->count, 0);
		pg_atomic_init_u64(&entry->last_at, 0);
	}
	pg_atomic_init_u64(&table->others, 0);
	pg_atomic_init_u64(&table->others_at, 0);
}

static void
ledger_counter_init(LedgerCounter *counter)
{
	pg_atomic_init_u64(&counter->count, 0);
	pg_atomic_init_u64(&counter->reset, 0);
}

static void
shared_reset(PoolExhaustShared *s)
{
	memset(s, 0, shared_size());
	s->born_at = s->observed.counted_since = GetCurrentTimestamp();
	s->lock = &GetNamedLWLockTranche(TRANCHE)[0].lock;
	s->observe_lock = &GetNamedLWLockTranche(TRANCHE)[1].lock;
	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		ledger_counter_init(&s->refusals[i].all);
		ledger_counter_init(&s->refusals[i].of_runs);
		pg_atomic_init_u64(&s->refusals[i].first_at, 0);
		pg_atomic_init_u64(&s->refusals[i].last_at, 0);
	}
	for (int i = 0; i < ADDRESS_SCOPES; i++)
		names_init(&s->refused[i]);
	for (int i = 0; i < REFUSED_PROCESSES; i++)
	{
		pg_atomic_init_u64(&s->blind[i].since, 0);
		pg_atomic_init_u64(&s->blind[i].until, 0);
	}
	ledger_counter_init(&s->opened);
	ledger_counter_init(&s->run_opened);
	names_init(&s->services);
	pg_atomic_init_u32(&s->monitor, 0);
	pg_atomic_init_u32(&s->attention, 0);
	pg_atomic_init_u32(&s->sweep_wanted, 0);
	pg_atomic_init_u32(&s->drives, 0);
	pg_atomic_init_u32(&s->sweeping, 0);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		pg_atomic_init_u32(&s->runs[i].stop, STOP_NONE);
		pg_atomic_init_u32(&s->runs[i].done, 0);
		pg_atomic_init_u32(&s->runs[i].total, 0);
		pg_atomic_init_u32(&s->runs[i].connections, 0);
		for (int cause = 0; cause < LEDGER_CAUSES; cause++)
			pg_atomic_init_u64(&s->runs[i].refused[cause], 0);
		pg_atomic_init_u32(&s->runs[i].leak_threshold_ms, 0);
		pg_atomic_init_u32(&s->runs[i].heal, 0);
		pg_atomic_init_u32(&s->runs[i].pools_version, 0);
		ConditionVariableInit(&s->runs[i].changed);
	}
}

static void
slots_reset(void)
{
	memset(leak_sessions, 0, slots_size());
	for (int i = 0; i < MaxConnections; i++)
	{
		pg_atomic_init_u32(&session_slots[i].listener, 0);
		pg_atomic_init_u32(&session_slots[i].login, 0);
		pg_atomic_init_u64(&session_slots[i].login_us, 0);
		pg_atomic_init_u32(&session_slots[i].drives, 0);
		pg_atomic_init_u64(&session_slots[i].drives_until_us, 0);
		pg_atomic_init_u32(&session_slots[i].borrower.version, 0);
	}
}

static void
shared_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(TRANCHE, shared_size(), &found);
	if (!found)
		shared_reset(shared);
	leak_sessions = ShmemInitStruct(TRANCHE " slots", slots_size(), &found);
	leak_groups = (LeakGroup *) (leak_sessions + MaxConnections);
	session_slots = (SessionSlot *) (leak_groups + leak_groups_max(MaxConnections));
	if (!found)
		slots_reset();
	LWLockRelease(AddinShmemInitLock);
}

/* To be called from _PG_init while shared_preload_libraries is processed. */
void
shared_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shared_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shared_startup;
}

/* WARNING: the library was not preloaded; with the line that does it. */
void
shared_warn(void)
{
	const char *others = GetConfigOption("shared_preload_libraries", true, false);

	ereport(WARNING,
			(errmsg("pool_exhaust is not in shared_preload_libraries, so it cannot do anything yet"),
			 errhint("Set shared_preload_libraries = '%s%spool_exhaust' in postgresql.conf and restart the server.",
					 others != NULL ? others : "", others != NULL && others[0] != '\0' ? ", " : "")));
}

/* ERROR unless the library was preloaded, so that shared memory is there. */
void
shared_require(void)
{
	if (shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pool_exhaust is not in shared_preload_libraries"),
				 errhint("Add pool_exhaust to shared_preload_libraries in postgresql.conf and restart the server.")));
}

/*
 * shared.c
 *		Asks for the shared memory of pool_exhaust and sets it up.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "shared.h"

#define TRANCHE "pool_exhaust"

PoolExhaustShared *shared = NULL;

const char *const verdict_names[] = {
	[VERDICT_NONE] = NULL,
	[VERDICT_PASS] = "pass",
	[VERDICT_FAIL] = "fail",
	[VERDICT_INVALID] = "invalid",
	[VERDICT_ABORTED] = "aborted",
};

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
shared_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(PoolExhaustShared)));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

static void
shared_reset(PoolExhaustShared *s)
{
	memset(s, 0, sizeof(*s));
	s->born_at = GetCurrentTimestamp();
	s->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
	for (int i = 0; i < CAUSES; i++)
	{
		pg_atomic_init_u64(&s->refusals[i].refusals, 0);
		pg_atomic_init_u64(&s->refusals[i].first_at, 0);
		pg_atomic_init_u64(&s->refusals[i].last_at, 0);
	}
	for (int i = 0; i < REFUSED_MAX; i++)
	{
		pg_atomic_init_u32(&s->refused[i].state, REFUSED_EMPTY);
		pg_atomic_init_u64(&s->refused[i].refusals, 0);
		pg_atomic_init_u64(&s->refused[i].last_at, 0);
	}
	pg_atomic_init_u64(&s->refused_others, 0);
	pg_atomic_init_u64(&s->refused_others_at, 0);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		pg_atomic_init_u32(&s->runs[i].stop, STOP_NONE);
		pg_atomic_init_u32(&s->runs[i].done, 0);
		pg_atomic_init_u32(&s->runs[i].total, 0);
		pg_atomic_init_u32(&s->runs[i].connections, 0);
		for (int cause = 0; cause < CAUSES; cause++)
			pg_atomic_init_u64(&s->runs[i].refused[cause], 0);
		ConditionVariableInit(&s->runs[i].changed);
	}
}

static void
shared_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(TRANCHE, sizeof(PoolExhaustShared), &found);
	if (!found)
		shared_reset(shared);
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

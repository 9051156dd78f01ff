/*
 * pools.c
 *		The pools that this server is: its slots, those of walsenders, and each
 *		role and database with a CONNECTION LIMIT.
 *
 * Connections in use are counted at each read; health with its memory, peaks and
 * the rate of releases are the monitor's.  A read may find a pool worse than the
 * monitor did, because health worsens at once; only the monitor decides that it
 * is better again.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "event/loop.h"
#include "observe/monitor/health_log.h"
#include "observe/monitor/pools.h"
#include "observe/slots/census.h"
#include "observe/slots/ledger.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

/* What the services of that role or database were refused; NULL means any. */
static uint64
services_refused(Cause cause, const char *usename, const char *datname)
{
	uint64		sum = 0;

	/* The monitor asks at each sample, for each limit: mostly there is nothing to add up. */
	for (int i = 0; i < ADDRESS_SCOPES && ledger_refusals(cause) > 0; i++)
		sum += names_sum(&shared->refused[i], cause, usename, datname);
	return sum;
}

/* What was refused because this pool was full, since the last reset. */
static uint64
pool_refused(const PoolLimit *limit)
{
	switch (limit->kind)
	{
		case POOL_ROLE:
			return services_refused(CAUSE_ROLE_LIMIT, limit->name, NULL);
		case POOL_DATABASE:
			return services_refused(CAUSE_DATABASE_LIMIT, NULL, limit->name);
		case POOL_WALSENDERS:
			return ledger_refusals(CAUSE_WALSENDER_LIMIT);
		default:
			return ledger_slot_refusals();
	}
}

static int64
pool_granted(const PoolLimit *limit)
{
	switch (limit->kind)
	{
		case POOL_ROLE:
			/* Some of those that found no place may have been its. */
			if (pg_atomic_read_u64(&shared->services.others) > 0)
				return -1;
			return names_sum(&shared->services, CAUSE_NONE, limit->name, NULL);
		case POOL_DATABASE:
		case POOL_WALSENDERS:
			return -1;
		default:
			return ledger_logins();
	}
}

/* What is remembered of that pool, among n of them, or NULL. */
static MonitoredPool *
pool_find(MonitoredPool *pools, int n, PoolKind kind, Oid oid)
{
	for (int i = 0; i < n; i++)
		if (pools[i].limit.kind == kind && pools[i].limit.oid == oid)
			return &pools[i];
	return NULL;
}

bool
pool_watched(PoolKind kind, Oid oid, Health *health, uint64 *transitions)
{
	Observed   *observed = &shared->observed;
	const MonitoredPool *pool;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	pool = monitor_is_fresh() ? pool_find(observed->pools, observed->npools, kind, oid) : NULL;
	if (pool != NULL)
	{
		*health = pool->judge.health;
		*transitions = observed->health_changes_written;
	}
	LWLockRelease(shared->observe_lock);
	return pool != NULL;
}

/* Completes a row by what the monitor remembers; health if that is fresh. */
static void
pool_remember(PoolRow *row, MonitoredPool *pool, bool fresh, uint64 now_us)
{
	bool		higher = row->in_use > pool->peak_in_use;

	row->remembered = true;
	row->peak_in_use = Max(pool->peak_in_use, row->in_use);
	row->peak_at = higher ? GetCurrentTimestamp() : pool->peak_at;
	row->retry_after_s = releases_retry_after_s(&pool->releases, 0, now_us);	/* no queue */
	if (fresh)
		row->health = Max(pool->judge.health,
						  health_of(row->in_use, row->limit.capacity, row->refused > pool->refused));
}

/* Copies what is remembered, POOLS_MAX of it, palloc'd; returns of how many pools.  Needs the lock. */
static int
pools_copy(MonitoredPool **pools)
{
	*pools = palloc(sizeof(shared->observed.pools));
	memcpy(*pools, shared->observed.pools, sizeof(shared->observed.pools));
	return shared->observed.npools;
}

/*
 * Returns the pools of the list (limits_read), an array as long as the list, in
 * the current memory context.
 */
PoolRow *
pools_read(const List *limits)
{
	PoolRow    *rows = palloc0(sizeof(PoolRow) * list_length(limits));
	MonitoredPool *pools;
	uint64		now_us = loop_now_us();
	bool		fresh;
	int			n;
	ListCell   *lc;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	n = pools_copy(&pools);
	fresh = monitor_is_fresh();
	LWLockRelease(shared->observe_lock);
	foreach(lc, limits)
	{
		PoolRow    *row = &rows[foreach_current_index(lc)];
		MonitoredPool *pool;

		row->limit = *(const PoolLimit *) lfirst(lc);
		row->in_use = limit_in_use(&row->limit);
		row->health = health_of(row->in_use, row->limit.capacity, false);
		row->granted = pool_granted(&row->limit);
		row->refused = pool_refused(&row->limit);
		pool = pool_find(pools, n, row->limit.kind, row->limit.oid);
		if (pool != NULL)
			pool_remember(row, pool, fresh, now_us);
	}
	pfree(pools);
	return rows;
}

/* Returns why the server, which is exhausted, refuses a login without a right to the reserved slots. */
Cause
server_cause(const PoolRow *server)
{
	Census		census;

	census_take(&census);
	if (census.free == 0)
		return CAUSE_TOO_MANY_CLIENTS;
	if (server->in_use >= server->limit.capacity || ledger_last_slot_cause() == CAUSE_NONE)
		return CAUSE_RESERVED_SLOTS;
	return ledger_last_slot_cause();
}

/*
 * The monitor's part: watches these pools from now on, as far as there is room,
 * and keeps what it remembers of those that it watched before.
 */
void
pools_watch(const List *limits)
{
	Observed   *observed = &shared->observed;
	MonitoredPool *before;
	uint64		now_us = loop_now_us();
	int			n;
	ListCell   *lc;

	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	n = pools_copy(&before);
	observed->npools = Min(list_length(limits), POOLS_MAX);
	foreach(lc, limits)
	{
		const PoolLimit *limit = lfirst(lc);
		MonitoredPool *pool = &observed->pools[foreach_current_index(lc)];
		const MonitoredPool *known = pool_find(before, n, limit->kind, limit->oid);

		if (foreach_current_index(lc) == POOLS_MAX)
			break;
		/* Another role of that name may have been refused before. */
		*pool = known != NULL ? *known : (MonitoredPool) {.refused = pool_refused(limit)};
		if (known == NULL)
			releases_begin(&pool->releases, now_us);
		pool->limit = *limit;
	}
	LWLockRelease(shared->observe_lock);
	pfree(before);
}

static void
pool_judge(MonitoredPool *pool, const PoolSnapshot *snapshot, uint64 refused_total, bool regular,
		   TimestampTz now, uint64 now_us)
{
	Health		was = pool->judge.health;
	uint64		refused = refused_total > pool->refused ? refused_total - pool->refused : 0;

	/* What was released between two observations far apart is not known. */
	if (now_us >= shared->observed.sampled_us + RELEASES_US)
		pool->releases.since_us = now_us;
	pool->in_use = snapshot->in_use;
	pool->refused = refused_total;
	releases_add(&pool->releases, snapshot->released, now_us);
	if (snapshot->in_use > pool->peak_in_use)
	{
		pool->peak_in_use = snapshot->in_use;
		pool->peak_at = now;
	}
	if (regular || health_of(snapshot->in_use, pool->limit.capacity, refused > 0) >= was)
		health_judge(&pool->judge, snapshot->in_use, pool->limit.capacity, refused > 0);
	if (pool->judge.health != was)
		health_log_add(pool, was, refused, now, now_us);
}

/*
 * The monitor's part: takes into account a snapshot of each of the first n
 * pools that are watched.  Only regular observations can find that a pool is
 * better again, so that those out of turn do not hasten that.  Needs the lock.
 */
void
pools_judge(const PoolSnapshot *snapshots, int n, bool regular)
{
	Observed   *observed = &shared->observed;
	TimestampTz now = GetCurrentTimestamp();
	uint64		now_us = loop_now_us();

	for (int i = 0; i < Min(n, observed->npools); i++)
	{
		MonitoredPool *pool = &observed->pools[i];

		pool_judge(pool, &snapshots[i], pool_refused(&pool->limit), regular, now, now_us);
	}
	observed->sampled_us = now_us;
	observed->sampled_at = now;
}

/*
 * pools.c
 *		The pools that this server is: its slots, and each role and database
 *		with a CONNECTION LIMIT.
 *
 * Connections in use are counted at each read; health with its memory, peaks and
 * the rate of releases are the monitor's.  A read may find a pool worse than the
 * monitor did, because health worsens at once; only the monitor decides that it
 * is better again.
 */
#include "postgres.h"

#include "utils/float.h"
#include "utils/timestamp.h"

#include "event/loop.h"
#include "observe/hooks/login_count.h"
#include "observe/hooks/refusal.h"
#include "observe/monitor/health_log.h"
#include "observe/monitor/pools.h"
#include "observe/slots/census.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

/* What was refused because this pool was full, since the last reset. */
static uint64
pool_refused(PoolKind kind, const char *name, const NameList *refused)
{
	uint64		sum = 0;

	switch (kind)
	{
		case POOL_ROLE:
			return names_sum(refused, CAUSE_ROLE_LIMIT, name, NULL);
		case POOL_DATABASE:
			return names_sum(refused, CAUSE_DATABASE_LIMIT, NULL, name);
		default:
			for (int i = 0; i < LEDGER_CAUSES; i++)
				if (cause_kinds[i].takes_slots)
					sum += refusal_count(i);
			return sum;
	}
}

static int64
pool_granted(PoolKind kind, const char *name, const NameList *services)
{
	switch (kind)
	{
		case POOL_ROLE:
			/* Some of those that found no place may have been its. */
			if (pg_atomic_read_u64(&shared->services.others) > 0)
				return -1;
			return names_sum(services, CAUSE_NONE, name, NULL);
		case POOL_DATABASE:
			return -1;
		default:
			return login_count_add();
	}
}

static bool
pool_is(const MonitoredPool *pool, PoolKind kind, Oid oid)
{
	return pool->kind == kind && pool->oid == oid;
}

bool
pool_watched(PoolKind kind, Oid oid, Health *health, uint64 *transitions)
{
	Observed   *observed = &shared->observed;
	bool		found = false;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	for (int i = 0; i < observed->npools && monitor_is_fresh(); i++)
		if (pool_is(&observed->pools[i], kind, oid))
		{
			found = true;
			*health = observed->pools[i].judge.health;
			*transitions = observed->health_changes_written;
		}
	LWLockRelease(shared->observe_lock);
	return found;
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

/*
 * Returns the pools of the list (limits_read), an array as long as the list, in
 * the current memory context.
 */
PoolRow *
pools_read(const List *limits)
{
	Observed   *observed = palloc(sizeof(Observed));
	PoolRow    *rows = palloc0(sizeof(PoolRow) * list_length(limits));
	NameList	refused;
	NameList	services;
	uint64		now_us = loop_now_us();
	bool		fresh;
	ListCell   *lc;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	*observed = shared->observed;
	fresh = monitor_is_fresh();
	LWLockRelease(shared->observe_lock);
	names_list(&shared->refused, &refused);
	names_list(&shared->services, &services);
	foreach(lc, limits)
	{
		const PoolLimit *limit = lfirst(lc);
		PoolRow    *row = &rows[foreach_current_index(lc)];

		row->limit = *limit;
		row->in_use = limit_in_use(limit);
		row->utilization = limit->capacity > 0 ? (double) row->in_use / limit->capacity : get_float8_nan();
		row->health = health_of(row->in_use, limit->capacity, false);
		row->granted = pool_granted(limit->kind, limit->name, &services);
		row->refused = pool_refused(limit->kind, limit->name, &refused);
		for (int i = 0; i < observed->npools; i++)
			if (pool_is(&observed->pools[i], limit->kind, limit->oid))
				pool_remember(row, &observed->pools[i], fresh, now_us);
	}
	pfree(observed);
	return rows;
}

/*
 * The monitor's part: watches these pools from now on, as far as there is room,
 * and keeps what it remembers of those that it watched before.
 */
void
pools_watch(const List *limits)
{
	Observed   *observed = &shared->observed;
	MonitoredPool *before = palloc(sizeof(observed->pools));
	uint64		now_us = loop_now_us();
	NameList	refused;
	int			n = 0;
	ListCell   *lc;

	names_list(&shared->refused, &refused);
	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	memcpy(before, observed->pools, sizeof(observed->pools));
	foreach(lc, limits)
	{
		const PoolLimit *limit = lfirst(lc);
		MonitoredPool *pool = &observed->pools[n];

		if (n == POOLS_MAX)
			break;
		memset(pool, 0, sizeof(*pool));
		/* Another role of that name may have been refused before. */
		pool->refused = pool_refused(limit->kind, limit->name, &refused);
		releases_begin(&pool->releases, now_us);
		pool->kind = limit->kind;
		pool->oid = limit->oid;
		for (int i = 0; i < observed->npools; i++)
			if (pool_is(&before[i], limit->kind, limit->oid))
				*pool = before[i];
		strlcpy(pool->name, limit->name, NAMEDATALEN);
		pool->capacity = limit->capacity;
		n++;
	}
	observed->npools = n;
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
	if (regular || health_of(snapshot->in_use, pool->capacity, refused > 0) >= was)
		health_judge(&pool->judge, snapshot->in_use, pool->capacity, refused > 0);
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
	NameList	refused;

	names_list(&shared->refused, &refused);
	for (int i = 0; i < Min(n, observed->npools); i++)
	{
		MonitoredPool *pool = &observed->pools[i];

		pool_judge(pool, &snapshots[i], pool_refused(pool->kind, pool->name, &refused),
				   regular, now, now_us);
	}
	observed->sampled_us = now_us;
	observed->sampled_at = now;
}

/*
 * snapshot.c
 *		What the monitor reads in one observation: which sessions hold the
 *		slots, what each pool hands out, and which sessions have ended since
 *		the observation before.
 */
#include "postgres.h"

#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "event/loop.h"
#include "observe/monitor/snapshot.h"
#include "observe/slots/borrower.h"

#define PREFETCH	16			/* slots */

static MonitorSnapshot snapshot;
static Slot *slots_before;		/* at the last observation; zero at first */
static TimestampTz *borrowed_since; /* by slot: since when its session is borrowed; 0: it is not */
static MemoryContext limits_context;
static MemoryContext services_context;
static bool limits_stale = true;

static void
limits_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	limits_stale = true;
}

/* To be called once in the monitor, when it can read catalogs. */
void
snapshot_init(void)
{
	MemoryContext old;

	slots_before = MemoryContextAllocZero(TopMemoryContext, sizeof(Slot) * MaxConnections);
	snapshot.slots = MemoryContextAllocZero(TopMemoryContext, sizeof(Slot) * MaxConnections);
	borrowed_since = MemoryContextAllocZero(TopMemoryContext, sizeof(TimestampTz) * MaxConnections);
	limits_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust limits",
										   ALLOCSET_SMALL_SIZES);
	services_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust services",
											 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(limits_context);
	snapshot.limits = limits_of_server();
	MemoryContextSwitchTo(old);
	if (shared->observed.npools == 0)
		pools_watch(snapshot.limits);
	CacheRegisterSyscacheCallback(AUTHOID, limits_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, limits_changed, (Datum) 0);
}

/*
 * Locks the shared catalogs, and their indexes, until the end of the transaction,
 * or returns false: the monitor must not wait for a session that rewrites one.
 */
bool
snapshot_catalogs_readable(void)
{
	static const Oid relations[] = {
		AuthIdRelationId, AuthIdOidIndexId, AuthIdRolnameIndexId, AuthMemRelationId, AuthMemMemRoleIndexId,
		DatabaseRelationId, DatabaseOidIndexId,
	};

	for (int i = 0; i < lengthof(relations); i++)
		if (!ConditionalLockRelationOid(relations[i], AccessShareLock))
			return false;
	return true;
}

/* The server first, its walsenders, then the oldest: so it stays the same ones that are watched. */
static int
limits_compare(const ListCell *a, const ListCell *b)
{
	const PoolLimit *x = lfirst(a);
	const PoolLimit *y = lfirst(b);
	int			by_oid = oid_cmp(&x->oid, &y->oid);

	return by_oid != 0 ? by_oid : (int) x->kind - (int) y->kind;
}

/* The catalogs are read again only when a role or a database has changed. */
static void
limits_refresh(void)
{
	MemoryContext old;

	if (!limits_stale)
		return;
	limits_stale = false;
	MemoryContextReset(limits_context);
	old = MemoryContextSwitchTo(limits_context);
	snapshot.limits = limits_read();
	list_sort(snapshot.limits, limits_compare);
	snapshot.limits = list_truncate(snapshot.limits, POOLS_MAX);
	MemoryContextSwitchTo(old);
	pools_watch(snapshot.limits);
}

static bool
limit_is_of(const PoolLimit *limit, Oid role, Oid database)
{
	return (limit->kind == POOL_ROLE && limit->oid == role) ||
		(limit->kind == POOL_DATABASE && limit->oid == database);
}

/* The session that was seen there has ended: every pool it was of has it back. */
static void
slot_released(const Slot *slot)
{
	ListCell   *lc;

	foreach(lc, snapshot.limits)
	{
		const PoolLimit *limit = lfirst(lc);

		if (limit->kind == POOL_SERVER || limit_is_of(limit, slot->role, slot->database))
			snapshot.pools[foreach_current_index(lc)].released++;
	}
}

/*
 * A login that is about to be refused for a limit counts against that limit
 * until it is gone; it was never handed out.
 */
static void
login_seen(const Slot *slot)
{
	ListCell   *lc;

	foreach(lc, snapshot.limits)
		if (limit_is_of(lfirst(lc), slot->role, slot->database))
			snapshot.pools[foreach_current_index(lc)].logins++;
}

/* Is the slot as it was, free or with a session that has done nothing since? */
static bool
slot_stands(const Slot *before, const Slot *slot)
{
	if (slot->pid == 0 || before->pid == 0)
		return slot->pid == before->pid;
	return (slot->state == SLOT_IDLE || slot->state == SLOT_IDLE_IN_TRANSACTION) && before->pid == slot->pid &&
		before->started == slot->started && before->changes == slot->changes;
}

/* Reads and notes what stands beside the status entry; it changes with that, or while a statement runs. */
static void
slot_observe_rest(int number, const Slot *slot, uint64 now_us)
{
	Borrower	borrower = {0};

	if (slot->pid != 0)
		(void) borrower_read(number, slot, &borrower);
	borrowed_since[number] = borrower.name[0] != '\0' ? borrower.since : 0;
	slot_note_login(number, slot, now_us);
}

static void
borrowed_count(TimestampTz since)
{
	if (since != 0 && (snapshot.borrowed++ == 0 || since < snapshot.borrowed_since))
		snapshot.borrowed_since = since;
}

static void
slots_observe(void)
{
	static uint64 before_us = 0;
	uint64		now_us = loop_now_us();
	Service    *service = NULL;
	bool		recent = now_us < before_us + RELEASES_US;
	Slot	   *before = snapshot.slots;

	before_us = now_us;
	snapshot.slots = slots_before;
	slots_before = before;
	for (int i = 0; i < MaxConnections; i++)
	{
		Slot	   *slot = &snapshot.slots[i];

		slot_prefetch(i + PREFETCH);
		slot_prefetch_status(i + PREFETCH / 2);
		memset(slot, 0, sizeof(*slot));
		if (slot_read_again(i, &before[i], slot))
		{
			snapshot.by_state[slot->state]++;
			if (slot->state == SLOT_AUTHENTICATING && OidIsValid(slot->role))
				login_seen(slot);
			if (snapshot.readable)
				service = services_add_like(snapshot.services, slot, service);
		}
		if (!slot_stands(&before[i], slot))
			slot_observe_rest(i, slot, now_us);
		borrowed_count(borrowed_since[i]);
		/* When sessions ended before the last observation is not known. */
		if (recent && before[i].started != 0 &&
			(before[i].pid != slot->pid || before[i].started != slot->started))
			slot_released(&before[i]);
	}
}

/* Observes.  Needs a transaction; what it returns stands until the next observation. */
const MonitorSnapshot *
snapshot_take(void)
{
	MemoryContext old;
	ListCell   *lc;

	snapshot.readable = snapshot_catalogs_readable();
	if (snapshot.readable)
		limits_refresh();
	memset(snapshot.by_state, 0, sizeof(snapshot.by_state));
	snapshot.borrowed = 0;
	snapshot.borrowed_since = 0;
	memset(snapshot.pools, 0, sizeof(snapshot.pools));
	MemoryContextReset(services_context);
	old = MemoryContextSwitchTo(services_context);
	snapshot.services = services_create();
	MemoryContextSwitchTo(old);

	slots_observe();
	foreach(lc, snapshot.limits)
	{
		const PoolLimit *limit = lfirst(lc);
		PoolSnapshot *pool = &snapshot.pools[foreach_current_index(lc)];
		int			in_use = limit->kind == POOL_SERVER ? slot_states_sum(snapshot.by_state) : limit_in_use(limit);

		pool->in_use = Max(in_use - pool->logins, 0);
	}
	return &snapshot;
}

const MonitorSnapshot *
snapshot_last(void)
{
	return &snapshot;
}

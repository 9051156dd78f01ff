/*
 * sight.c
 *		What the monitor sees when it looks once: who holds the slots, what
 *		each pool hands out, and whose sessions have ended since the last look.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "sight.h"

/* Which session a slot held when it was looked at last; started 0: none. */
typedef struct Holder
{
	int			pid;
	TimestampTz started;
	Oid			role;
	Oid			database;
} Holder;

static Sight sight;
static Holder *holders;			/* by number of slot */
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
sight_init(void)
{
	holders = MemoryContextAllocZero(TopMemoryContext, sizeof(Holder) * MaxConnections);
	limits_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust limits",
										   ALLOCSET_SMALL_SIZES);
	services_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust services",
											 ALLOCSET_DEFAULT_SIZES);
	CacheRegisterSyscacheCallback(AUTHOID, limits_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, limits_changed, (Datum) 0);
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
	sight.limits = limits_read();
	MemoryContextSwitchTo(old);
	pools_watch(sight.limits);
}

/* The session that was seen there has ended: every pool it was of has it back. */
static void
holder_released(const Holder *holder)
{
	ListCell   *lc;

	foreach(lc, sight.limits)
	{
		const PoolLimit *limit = lfirst(lc);

		if (foreach_current_index(lc) == POOLS_MAX)
			break;
		if (limit->kind == POOL_SERVER ||
			(limit->kind == POOL_ROLE && limit->oid == holder->role) ||
			(limit->kind == POOL_DATABASE && limit->oid == holder->database))
			sight.pools[foreach_current_index(lc)].released++;
	}
}

static void
slots_look(void)
{
	for (int i = 0; i < MaxConnections; i++)
	{
		Holder	   *holder = &holders[i];
		Slot		slot = {0};

		if (slot_look(i, &slot))
		{
			sight.by_state[slot.state]++;
			services_add(sight.services, &slot);
		}
		if (holder->started != 0 &&
			(holder->pid != slot.pid || holder->started != slot.started))
			holder_released(holder);
		*holder = (Holder) {slot.pid, slot.started, slot.role, slot.database};
	}
}

/* Looks.  Needs a transaction; what it returns stands until the next look. */
const Sight *
sight_take(void)
{
	MemoryContext old;
	NameList	refused;
	ListCell   *lc;

	limits_refresh();
	memset(sight.by_state, 0, sizeof(sight.by_state));
	memset(sight.pools, 0, sizeof(sight.pools));
	MemoryContextReset(services_context);
	old = MemoryContextSwitchTo(services_context);
	sight.services = services_create();
	MemoryContextSwitchTo(old);

	slots_look();
	names_list(&shared->refused, &refused);
	foreach(lc, sight.limits)
	{
		const PoolLimit *limit = lfirst(lc);
		PoolSight  *pool = &sight.pools[foreach_current_index(lc)];

		if (foreach_current_index(lc) == POOLS_MAX)
			break;
		pool->in_use = limit_in_use(limit);
		pool->refused = pool_refused(limit->kind, limit->name, &refused);
	}
	return &sight;
}

const Sight *
sight_last(void)
{
	return &sight;
}

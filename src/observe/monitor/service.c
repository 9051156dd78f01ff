/*
 * service.c
 *		Services: the sessions that share a role and an application_name.
 *
 * What they hold is counted on demand.  How many sessions a service
 * opened, and its peak, stand in a bounded table in shared memory, under names
 * of printable ASCII.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#include "event/loop.h"
#include "observe/monitor/service.h"
#include "shmem/names.h"

ServiceKey
service_key(const Slot *slot)
{
	ServiceKey	key;

	memset(&key, 0, sizeof(key));	/* it is hashed, with its padding */
	key.role = slot->role;
	strlcpy(key.application_name, slot->application_name, NAMEDATALEN);
	return key;
}

HTAB *
services_create(void)
{
	HASHCTL		ctl = {.keysize = sizeof(ServiceKey), .entrysize = sizeof(Service),
	.hcxt = CurrentMemoryContext};

	return hash_create("pool_exhaust services", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The name of a role, or its number if it was dropped meanwhile. */
static void
role_name(Oid role, char *name)
{
	const char *found = GetUserNameFromId(role, true);

	if (found != NULL)
		strlcpy(name, found, NAMEDATALEN);
	else
		snprintf(name, NAMEDATALEN, "%u", role);
}

bool
role_monitors(Oid role)
{
	return has_privs_of_role(role, ROLE_PG_MONITOR) && !superuser_arg(role);
}

/* Returns the service of the session, a new one if need be. */
static Service *
service_of(HTAB *services, const Slot *slot)
{
	ServiceKey	key = service_key(slot);
	bool		found;
	Service    *service = hash_search(services, &key, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) service + sizeof(key), 0, sizeof(*service) - sizeof(key));
		role_name(key.role, service->usename);
	}
	return service;
}

static Service *
service_count(Service *service, const Slot *slot)
{
	service->in_use++;
	service->by_state[slot->state]++;
	service->waiting_on_lock += slot->waits_on_lock;
	return service;
}

/*
 * Counts a slot, if it holds a session, and returns the service that this is of;
 * otherwise NULL.  Needs a transaction.
 */
Service *
services_add(HTAB *services, const Slot *slot)
{
	return slot->state != SLOT_AUTHENTICATING ? service_count(service_of(services, slot), slot) : NULL;
}

/*
 * The same, which checks first whether it is of the service "like", that of the slot before
 * or NULL, and returns what to try with the next one.
 */
Service *
services_add_like(HTAB *services, const Slot *slot, Service *like)
{
	if (slot->state == SLOT_AUTHENTICATING)
		return like;
	if (like == NULL || like->key.role != slot->role ||
		strcmp(like->key.application_name, slot->application_name) != 0)
		like = service_of(services, slot);
	return service_count(like, slot);
}

/* The same of a walsender. */
void
services_add_walsender(HTAB *services, const Slot *slot)
{
	if (slot->state != SLOT_AUTHENTICATING)
		service_of(services, slot)->walsenders++;
}

/* ---------- What is remembered ---------- */

/* Marks what each service has, by its place in the table, once a minute. */
static void
recent_mark(const int *in_use)
{
	RecentServices *recent = &shared->observed.recent;
	bool		anew = recent->counted_since != shared->observed.counted_since;
	uint64		now_us = loop_now_us();
	int			last = (recent->next + RECENT_MINUTES - 1) % RECENT_MINUTES;

	if (!anew && now_us < recent->at_us[last] + USECS_PER_MINUTE)
		return;
	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	if (anew)
		memset(recent, 0, sizeof(*recent));
	recent->counted_since = shared->observed.counted_since;
	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->services, i);

		recent->marks[recent->next][i] = (ServiceMark) {entry != NULL ? pg_atomic_read_u64(&entry->count) : 0, in_use[i]};
	}
	recent->at_us[recent->next] = now_us;
	recent->next = (recent->next + 1) % RECENT_MINUTES;
	LWLockRelease(shared->observe_lock);
}

/* The monitor's part: keeps the peaks, and what there was in the last minutes. */
void
services_remember(HTAB *services)
{
	HASH_SEQ_STATUS seq;
	Service    *service;
	TimestampTz now = GetCurrentTimestamp();
	int			in_use[NAMES_MAX] = {0};

	hash_seq_init(&seq, services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		Names		names;
		NameEntry  *entry;

		names_fill(&names, CAUSE_NONE, service->usename, NULL, service->key.application_name);
		entry = names_find(&shared->services, &names, true);
		if (entry == NULL)
			continue;
		in_use[entry - shared->services.entries] = service->in_use;
		if (service->in_use > pg_atomic_read_u32(&entry->peak))
			pg_atomic_write_u32(&entry->peak, service->in_use);
		pg_atomic_write_u64(&entry->last_at, (uint64) now);
	}
	recent_mark(in_use);
}

RecentServices *
recent_services_copy(void)
{
	RecentServices *recent = palloc(sizeof(RecentServices));

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	*recent = shared->observed.recent;
	if (recent->counted_since != shared->observed.counted_since)
		memset(recent, 0, sizeof(*recent));
	LWLockRelease(shared->observe_lock);
	return recent;
}

bool
recent_service(const RecentServices *recent, const NameEntry *entry, int in_use, RecentFigures *figures)
{
	uint64		now_us = loop_now_us();

	for (int i = 0; entry != NULL && i < RECENT_MINUTES; i++)
	{
		int			oldest = (recent->next + i) % RECENT_MINUTES;
		const ServiceMark *mark = &recent->marks[oldest][entry - shared->services.entries];

		if (recent->at_us[oldest] == 0 || now_us > recent->at_us[oldest] + RECENT_MINUTES * USECS_PER_MINUTE)
			continue;
		figures->opened = (int64) (pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, &entry->count)) - mark->opened);
		figures->closed = Max(figures->opened + mark->in_use - in_use, 0);
		return true;
	}
	return false;
}

void
service_name(Oid role, const char *application_name, char *name)
{
	char		usename[NAMEDATALEN];

	role_name(role, usename);
	snprintf(name, SERVICE_LEN, "%s/%s", usename, application_name);
}

bool
service_may_see(Oid role)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		(OidIsValid(role) && has_privs_of_role(GetUserId(), role));
}

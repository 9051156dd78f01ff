/*
 * service.c
 *		Services: the sessions that share a role and an application_name.
 *
 * What they hold is counted when somebody looks.  How many sessions a service
 * opened, and its peak, stand in a bounded table in shared memory, under names
 * of printable ASCII.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "observe/monitor/leak_detector.h"
#include "observe/monitor/service.h"
#include "observe/slots/census.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

#define COLUMNS 11

PG_FUNCTION_INFO_V1(pool_exhaust_services_rows);

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
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));

	if (HeapTupleIsValid(tuple))
	{
		strlcpy(name, NameStr(((Form_pg_authid) GETSTRUCT(tuple))->rolname), NAMEDATALEN);
		ReleaseSysCache(tuple);
	}
	else
		snprintf(name, NAMEDATALEN, "%u", role);
}

/*
 * Counts a slot, if it holds a session, and returns the service that this is of;
 * otherwise NULL.  Needs a transaction.
 */
Service *
services_add(HTAB *services, const Slot *slot)
{
	ServiceKey	key;
	Service    *service;
	bool		found;

	if (slot->state == SLOT_AUTHENTICATING)
		return NULL;
	memset(&key, 0, sizeof(key));
	key.role = slot->role;
	strlcpy(key.application_name, slot->application_name, NAMEDATALEN);
	service = hash_search(services, &key, HASH_ENTER, &found);
	if (!found)
	{
		service->in_use = service->suspects = 0;
		memset(service->by_state, 0, sizeof(service->by_state));
		role_name(key.role, service->usename);
	}
	service->in_use++;
	service->by_state[slot->state]++;
	return service;
}

/* The monitor's part: keeps the peaks. */
void
services_remember(HTAB *services)
{
	HASH_SEQ_STATUS seq;
	Service    *service;
	TimestampTz now = GetCurrentTimestamp();

	hash_seq_init(&seq, services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		Names		names;
		NameEntry  *entry;

		names_fill(&names, CAUSE_NONE, service->usename, NULL, service->key.application_name);
		entry = names_find(&shared->services, &names, true);
		if (entry == NULL)
			continue;
		if (service->in_use > pg_atomic_read_u32(&entry->peak))
			pg_atomic_write_u32(&entry->peak, service->in_use);
		pg_atomic_write_u64(&entry->last_at, (uint64) now);
	}
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

static void
service_put(ReturnSetInfo *rsinfo, const Service *service, int64 opened, int peak)
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};
	int			capacity = census_capacity();
	int			n = 0;

	values[n++] = CStringGetTextDatum(psprintf("%s/%s", service->usename, service->key.application_name));
	values[n++] = CStringGetTextDatum(service->usename);
	values[n++] = CStringGetTextDatum(service->key.application_name);
	values[n++] = Int32GetDatum(service->in_use);
	values[n++] = Int32GetDatum(service->by_state[SLOT_ACTIVE]);
	values[n++] = Int32GetDatum(service->by_state[SLOT_IDLE]);
	values[n++] = Int32GetDatum(service->by_state[SLOT_IDLE_IN_TRANSACTION]);
	nulls[n] = capacity == 0;
	values[n++] = Float8GetDatum(capacity > 0 ? (double) service->in_use / capacity : 0.0);
	values[n++] = Int32GetDatum(Max(peak, service->in_use));
	values[n++] = Int64GetDatum(opened);
	nulls[n] = service->suspects < 0;
	values[n++] = Int32GetDatum(service->suspects);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The services that hold sessions; marks those that the table of names has. */
static void
services_put_live(ReturnSetInfo *rsinfo, bool *seen)
{
	HTAB	   *services = services_create();
	HASH_SEQ_STATUS seq;
	Service    *service;
	Slot		slot;
	bool		watched = monitor_is_fresh();

	for (int i = 0; i < MaxConnections; i++)
		if (slot_look(i, &slot) && (service = services_add(services, &slot)) != NULL)
			service->suspects += suspect_rule(i, &slot) != LEAK_NONE;

	hash_seq_init(&seq, services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		Names		names;
		NameEntry  *entry;
		int64		opened;
		int			peak;

		names_fill(&names, CAUSE_NONE, service->usename, NULL, service->key.application_name);
		entry = names_find(&shared->services, &names, false);
		if (entry != NULL)
			seen[entry - shared->services.entries] = true;
		names_add_up(&shared->services, &names, &opened, &peak);
		if (!watched)
			service->suspects = -1;
		if (service_may_see(service->key.role))
			service_put(rsinfo, service, opened, peak);
	}
	hash_destroy(services);
}

/* The services that held sessions, and whom the table of names had no place for. */
static void
services_put_past(ReturnSetInfo *rsinfo, const bool *seen)
{
	Service		service = {.suspects = monitor_is_fresh() ? 0 : -1};
	int64		opened;
	int			peak;

	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->services, i);

		/* Of equal names the first stands for all. */
		if (entry == NULL || seen[i] ||
			names_find(&shared->services, &entry->names, false) != entry ||
			!service_may_see(get_role_oid(entry->names.usename, true)))
			continue;
		strlcpy(service.usename, entry->names.usename, NAMEDATALEN);
		strlcpy(service.key.application_name, entry->names.application_name, NAMEDATALEN);
		names_add_up(&shared->services, &entry->names, &opened, &peak);
		service_put(rsinfo, &service, opened, peak);
	}
	opened = (int64) pg_atomic_read_u64(&shared->services.others);
	if (opened > 0 && service_may_see(InvalidOid))
	{
		strlcpy(service.usename, NAMES_OTHERS, NAMEDATALEN);
		strlcpy(service.key.application_name, NAMES_OTHERS, NAMEDATALEN);
		service_put(rsinfo, &service, opened, 0);
	}
}

/* The rows of view pool_exhaust_services. */
Datum
pool_exhaust_services_rows(PG_FUNCTION_ARGS)
{
	bool		seen[NAMES_MAX] = {false};

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	services_put_live((ReturnSetInfo *) fcinfo->resultinfo, seen);
	services_put_past((ReturnSetInfo *) fcinfo->resultinfo, seen);
	return (Datum) 0;
}

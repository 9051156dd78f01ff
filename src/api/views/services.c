/*
 * services.c
 *		The rows of view pool_exhaust_services.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "api/rows.h"
#include "api/views/service_borrowers.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/service.h"
#include "observe/slots/census.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

PG_FUNCTION_INFO_V1(pool_exhaust_services_rows);

static void
service_put(RowBuilder *row, const Service *service, int64 opened, int peak, const BorrowedFigures *borrowed)
{
	row_text(row, psprintf("%s/%s", service->usename, service->key.application_name));
	row_text(row, service->usename);
	row_text(row, service->key.application_name);
	row_int(row, service->in_use);
	row_int(row, service->by_state[SLOT_ACTIVE]);
	row_int(row, service->by_state[SLOT_IDLE]);
	row_int(row, service->by_state[SLOT_IDLE_IN_TRANSACTION]);
	row_utilization(row, service->in_use, census_capacity());
	row_int(row, Max(peak, service->in_use));
	row_bigint(row, opened);
	row_int_if(row, monitor_is_fresh(), service->suspects);
	row_int(row, service->walsenders);
	row_int(row, service->waiting_on_lock);
	row_int(row, borrowed->sessions);
	row_text(row, borrowed->name);
	row_time(row, (uint64) borrowed->since);
	row_json(row, borrowed->json);
	row_end(row);
}

/* The services that hold sessions; marks those that the table of names has. */
static void
services_put_live(RowBuilder *row, bool *seen)
{
	HTAB	   *services = services_create();
	ServiceBorrowers *borrowers = service_borrowers_create();
	HASH_SEQ_STATUS seq;
	Service    *service;
	Slot		slot;
	int			number = 0;

	for (int i = 0; i < MaxConnections; i++)
		if (slot_read(i, &slot) && (service = services_add(services, &slot)) != NULL)
		{
			service->suspects += suspect_rule(i, &slot) != LEAK_NONE;
			service_borrowers_note(borrowers, service, i, &slot);
		}
	service_borrowers_sort(borrowers);
	while (walsender_read(&number, &slot))
		services_add_walsender(services, &slot);

	hash_seq_init(&seq, services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		BorrowedFigures borrowed = service_borrowers_of(borrowers, service);
		Names		names;
		NameEntry  *entry;
		int64		opened;
		int			peak;

		names_fill(&names, CAUSE_NONE, service->usename, NULL, service->key.application_name);
		entry = names_find(&shared->services, &names, false);
		if (entry != NULL)
			seen[entry - shared->services.entries] = true;
		names_add_up(&shared->services, &names, &opened, &peak);
		if (service_may_see(service->key.role))
			service_put(row, service, opened, peak, &borrowed);
	}
	hash_destroy(services);
}

/* The services that held sessions, and one row for those that the table of names had no place for. */
static void
services_put_past(RowBuilder *row, const bool *seen)
{
	Service		service = {{0}};
	const BorrowedFigures none = {0};
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
		service_put(row, &service, opened, peak, &none);
	}
	opened = (int64) pg_atomic_read_u64(&shared->services.others);
	if (opened > 0 && service_may_see(InvalidOid))
	{
		strlcpy(service.usename, NAMES_OTHERS, NAMEDATALEN);
		strlcpy(service.key.application_name, NAMES_OTHERS, NAMEDATALEN);
		service_put(row, &service, opened, 0, &none);
	}
}

/* The rows of view pool_exhaust_services. */
Datum
pool_exhaust_services_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	bool		seen[NAMES_MAX] = {false};

	services_put_live(&row, seen);
	services_put_past(&row, seen);
	return (Datum) 0;
}

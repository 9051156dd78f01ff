/*
 * services.c
 *		The rows of view pool_exhaust_services.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#include "api/rows.h"
#include "api/views/service_borrowers.h"
#include "api/views/service_sessions.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/service.h"
#include "observe/slots/census.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

PG_FUNCTION_INFO_V1(pool_exhaust_services_rows);

/* So many listeners of one service, or services of one name each, are a pattern. */
#define PATTERN_MIN		5

/* Notes a session of the service. */
static void
usage_note(Service *service, int number, const Slot *slot, TimestampTz now)
{
	static const int rests[RESTS] = {
#define REST_NUMBER(times)	times,
		REST_LIST(REST_NUMBER)
	};
	Usage	   *usage = &service->usage;
	SessionUse	use = session_use(number, slot);
	int64		idle_ms = slot->state == SLOT_IDLE ? (now - slot->state_since) / 1000 : 0;

	for (int i = 0; i < RESTS; i++)
		usage->rests[i] += idle_ms > (int64) rests[i] * leak_threshold;
	usage->used_once += idle_ms > leak_threshold && use.used_once;
	usage->longest_rest_us = Max(usage->longest_rest_us, use.longest_rest_us);
	usage->listeners += slot->state == SLOT_IDLE && slot_listens(number, slot);
}

/* What generations of sessions, of which there are some, may mean. */
static char *
generations_text(const Usage *usage)
{
	double		left_s = (GetCurrentTimestamp() - usage->left_since) / 1e6;

	if (usage->generations > 1)
		return psprintf("%d generations of sessions, %d in all, each left before the next was opened, the first %.0f s ago: a reload that does not close its pool leaves one",
						usage->generations, usage->left, left_s);
	return psprintf("%d sessions have been silent for %.0f s, and their client host has opened others since: it vanished and is up again, or keeps an instance in reserve",
					usage->left, left_s);
}

static char *
namesakes_text(const Namesakes *namesakes)
{
	return psprintf("one of %d services of its role with one or two sessions, %d together, %d of them idle, in %d database%s and from %d client host%s: if they are processes of one application, one application_name lets them be compared",
					namesakes->services, namesakes->sessions, namesakes->idle, namesakes->databases, namesakes->databases == 1 ? "" : "s",
					namesakes->hosts, namesakes->hosts == 1 ? "" : "s");
}

/* Returns a sentence about a pattern that needs a human, palloc'd; NULL: none is seen. */
static char *
pattern_text(const Service *service)
{
	const Usage *usage = &service->usage;

	if (service->in_use > 0 && name_is_of_fdw(service->key.application_name))
		return pstrdup("sessions of postgres_fdw: each is held by a session of the server that it comes from, for as long as that lives; postgres_fdw.application_name = 'postgres_fdw %p' there gives its pid");
	if (usage->generations > 0)
		return generations_text(usage);
	if (usage->listeners >= PATTERN_MIN)
		return psprintf("%d sessions wait for notifications: one for each process is enough", usage->listeners);
	if (usage->namesakes.services >= PATTERN_MIN)
		return namesakes_text(&usage->namesakes);
	return NULL;
}

static void
usage_put(RowBuilder *row, const Service *service, const RecentServices *recent, const NameEntry *entry)
{
	const Usage *usage = &service->usage;
	RecentFigures figures = {0};
	bool		known = recent_service(recent, entry, service->in_use, &figures);

	for (int i = 0; i < RESTS; i++)
		row_int(row, usage->rests[i]);
	row_int_if(row, monitor_is_fresh(), usage->used_once);
	row_bigint_if(row, usage->longest_rest_us > 0, (int64) usage->longest_rest_us / 1000);
	row_bigint_if(row, known, figures.opened);
	row_bigint_if(row, known, figures.closed);
	row_text(row, pattern_text(service));
}

static void
service_put(RowBuilder *row, const Service *service, int64 opened, int peak, const BorrowedFigures *borrowed,
			const RecentServices *recent, const NameEntry *entry)
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
	usage_put(row, service, recent, entry);
	row_end(row);
}

/* The services that hold sessions; marks those that the table of names has. */
static void
services_put_live(RowBuilder *row, const RecentServices *recent, bool *seen)
{
	HTAB	   *services = services_create();
	ServiceBorrowers *borrowers = service_borrowers_create();
	ServiceSessions *sessions = service_sessions_create();
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS seq;
	Service    *service;
	Slot		slot;
	int			number = 0;

	for (int i = 0; i < MaxConnections; i++)
		if (slot_read(i, &slot) && (service = services_add(services, &slot)) != NULL)
		{
			service->suspects += suspect_rule(i, &slot) != LEAK_NONE;
			service_borrowers_note(borrowers, service, i, &slot);
			usage_note(service, i, &slot, now);
			service_sessions_note(sessions, service, i, &slot);
		}
	service_borrowers_sort(borrowers);
	service_generations_find(sessions, now);
	service_namesakes_find(sessions);
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
			service_put(row, service, opened, peak, &borrowed, recent, entry);
	}
	hash_destroy(services);
}

/* The services that held sessions, and one row for those that the table of names had no place for. */
static void
services_put_past(RowBuilder *row, const RecentServices *recent, const bool *seen)
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
		service_put(row, &service, opened, peak, &none, recent, entry);
	}
	opened = (int64) pg_atomic_read_u64(&shared->services.others);
	if (opened > 0 && service_may_see(InvalidOid))
	{
		strlcpy(service.usename, NAMES_OTHERS, NAMEDATALEN);
		strlcpy(service.key.application_name, NAMES_OTHERS, NAMEDATALEN);
		service_put(row, &service, opened, 0, &none, recent, NULL);
	}
}

/* The rows of view pool_exhaust_services. */
Datum
pool_exhaust_services_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	bool		seen[NAMES_MAX] = {false};
	const RecentServices *recent = recent_services_copy();

	services_put_live(&row, recent, seen);
	services_put_past(&row, recent, seen);
	return (Datum) 0;
}

/*
 * recorded_services.c
 *		The services of the second that is being recorded, each at its place.
 *
 * A service keeps its place as long as it has sessions, so that a second differs little
 * from the one before.  Without a free place the one that was idle for longest makes
 * room, then the smallest; what finds no place is counted among the others.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "nodes/pg_list.h"

#include "observe/monitor/recorded_services.h"
#include "shmem/names.h"

/* What is remembered of a place beside what is recorded. */
typedef struct Place
{
	uint64		name;			/* hash of role/application_name as they are recorded */
	Oid			role;			/* InvalidOid: not known */
	uint64		used;			/* the last second in which it had anything */
} Place;

bool		recorder_names = true;

static Place places[RECORDED_SERVICES_MAX];
static uint32 numbers;			/* given to services so far */
static uint64 seconds;

/* Counters of names, as they were counted so far. */
static uint64 opened_seen[NAMES_MAX];
static uint64 opened_others_seen;
static uint64 refused_seen[ADDRESS_SCOPES][NAMES_MAX];
static uint64 refused_others_seen[ADDRESS_SCOPES];

/* ---------- Places ---------- */

static uint64
name_hash(const char *service)
{
	return hash_bytes_extended((const unsigned char *) service, (int) strlen(service), 0);
}

/* The same of names, which are printable ASCII. */
static uint64
names_hash(const char *usename, const char *application_name)
{
	char		service[SERVICE_LEN];

	snprintf(service, sizeof(service), "%s/%s", usename, application_name);
	return name_hash(service);
}

static bool
place_is_of(const RecordedSecond *second, int i, uint64 name, Oid role)
{
	return second->services[i].taken && places[i].name == name &&
		(places[i].role == role || !OidIsValid(role) || !OidIsValid(places[i].role));
}

static int
place_find(const RecordedSecond *second, uint64 name, Oid role)
{
	for (int i = 0; i < second->nservices; i++)
		if (place_is_of(second, i, name, role))
			return i;
	return -1;
}

static bool
place_is_quiet(const RecordedService *service)
{
	return recorded_service_in_use(service) == 0 && service->opened == 0 && service->refused == 0;
}

/* Returns a place that is free, or else the quiet one that was used least recently; -1: there is none. */
static int
place_free(const RecordedSecond *second)
{
	int			quiet = -1;

	if (second->nservices < RECORDED_SERVICES_MAX)
		return second->nservices;
	for (int i = 0; i < RECORDED_SERVICES_MAX; i++)
		if (place_is_quiet(&second->services[i]) && (quiet < 0 || places[i].used < places[quiet].used))
			quiet = i;
	return quiet;
}

/* Returns the place with the fewest sessions, if they are clearly fewer than that; -1 if there is none. */
static int
place_smallest(const RecordedSecond *second, int in_use)
{
	int			smallest = 0;

	for (int i = 1; i < RECORDED_SERVICES_MAX; i++)
		if (recorded_service_in_use(&second->services[i]) < recorded_service_in_use(&second->services[smallest]))
			smallest = i;
	return recorded_service_in_use(&second->services[smallest]) + 1 < in_use ? smallest : -1;
}

static void
service_add(RecordedService *to, const RecordedService *from)
{
	for (int i = 0; i < SLOT_STATES; i++)
		to->by_state[i] += from->by_state[i];
	to->opened += from->opened;
	to->refused += from->refused;
	to->taken = true;
}

static void
place_name(RecordedSecond *second, int place, const char *usename, const char *application_name, Oid role)
{
	RecordedService *service = &second->services[place];

	service->role = recorder_names ? role : InvalidOid;
	if (recorder_names)
	{
		recorded_name(service->usename, usename);
		recorded_name(service->application_name, application_name);
	}
}

/* Gives the place to a service; the one that had it is one of the others from now on. */
static void
place_give(RecordedSecond *second, int place, const char *usename, const char *application_name, uint64 name, Oid role)
{
	RecordedService *service = &second->services[place];

	if (service->taken && !place_is_quiet(service))
		service_add(&second->services[RECORDED_OTHERS], service);
	memset(service, 0, sizeof(*service));
	service->taken = true;
	service->number = ++numbers;
	places[place] = (Place) {name, role, seconds};
	place_name(second, place, usename, application_name, role);
	second->nservices = Max(second->nservices, place + 1);
}

/* ---------- What is in use ---------- */

static void
service_states(const Service *from, RecordedService *to)
{
	for (int i = SLOT_AUTHENTICATING + 1; i < SLOT_STATES; i++)
		to->by_state[i] += from->by_state[i];
}

static uint64
service_hash(const Service *service, char *usename, char *application_name)
{
	recorded_name(usename, service->usename);
	recorded_name(application_name, service->key.application_name);
	return names_hash(usename, application_name);
}

/* Counts a service that has a place; false if it has none. */
static bool
note_placed(RecordedSecond *second, const Service *service)
{
	char		usename[NAMEDATALEN];
	char		application_name[NAMEDATALEN];
	int			place = place_find(second, service_hash(service, usename, application_name), service->key.role);

	if (place < 0)
		return false;
	if (!OidIsValid(places[place].role))
	{
		/* It was known by the names of its clients only. */
		places[place].role = service->key.role;
		second->services[place].role = recorder_names ? service->key.role : InvalidOid;
	}
	places[place].used = seconds;
	service_states(service, &second->services[place]);
	return true;
}

/* Counts one that has none, and gives it one if there is any. */
static void
note_new(RecordedSecond *second, const Service *service)
{
	char		usename[NAMEDATALEN];
	char		application_name[NAMEDATALEN];
	uint64		name = service_hash(service, usename, application_name);
	int			place = place_free(second);

	if (place < 0)
		place = place_smallest(second, service->in_use);
	if (place >= 0)
		place_give(second, place, usename, application_name, name, service->key.role);
	else
		place = RECORDED_OTHERS;
	second->services[place].taken = true;
	service_states(service, &second->services[place]);
}

void
recorded_services_note(RecordedSecond *second, HTAB *services)
{
	HASH_SEQ_STATUS seq;
	Service    *service;
	List	   *unplaced = NIL;
	ListCell   *lc;

	for (int i = 0; i <= RECORDED_OTHERS; i++)
		memset(second->services[i].by_state, 0, sizeof(second->services[i].by_state));
	hash_seq_init(&seq, services);
	while ((service = hash_seq_search(&seq)) != NULL)
		if (service->in_use > 0 && !note_placed(second, service))
			unplaced = lappend(unplaced, service);
	foreach(lc, unplaced)
		note_new(second, lfirst(lc));
	list_free(unplaced);
}

/* ---------- What is counted by name ---------- */

/* What the counter has more than it had; after a reset all of it. */
static uint32
counted(uint64 now, uint64 *seen)
{
	uint64		more = now >= *seen ? now - *seen : now;

	*seen = now;
	return (uint32) Min(more, PG_INT32_MAX);
}

/* Returns the service of these names; one of the others without a place. */
static RecordedService *
service_of(RecordedSecond *second, const Names *names)
{
	uint64		name = names_hash(names->usename, names->application_name);
	int			place = place_find(second, name, InvalidOid);

	if (place < 0 && (place = place_free(second)) >= 0)
		place_give(second, place, names->usename, names->application_name, name, InvalidOid);
	if (place < 0)
		place = RECORDED_OTHERS;
	else
		places[place].used = seconds;
	second->services[place].taken = true;
	return &second->services[place];
}

static void
others_add(RecordedSecond *second, uint32 opened, uint32 refused)
{
	RecordedService *others = &second->services[RECORDED_OTHERS];

	others->taken |= opened > 0 || refused > 0;
	others->opened += opened;
	others->refused += refused;
}

static void
count_opened(RecordedSecond *second)
{
	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->services, i);
		uint32		opened = counted(entry != NULL ? pg_atomic_read_u64(&entry->count) : 0, &opened_seen[i]);

		if (entry != NULL && opened > 0)
			service_of(second, &entry->names)->opened += opened;
	}
	others_add(second, counted(pg_atomic_read_u64(&shared->services.others), &opened_others_seen), 0);
}

static void
count_refused(RecordedSecond *second, int scope)
{
	NameTable  *table = &shared->refused[scope];

	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(table, i);
		uint32		refused = counted(entry != NULL ? pg_atomic_read_u64(&entry->count) : 0, &refused_seen[scope][i]);

		if (entry != NULL && refused > 0)
			service_of(second, &entry->names)->refused += refused;
	}
	others_add(second, 0, counted(pg_atomic_read_u64(&table->others), &refused_others_seen[scope]));
}

void
recorded_services_count(RecordedSecond *second, bool refused)
{
	count_opened(second);
	for (int i = 0; i < ADDRESS_SCOPES && refused; i++)
		count_refused(second, i);
}

void
recorded_services_next(RecordedSecond *second)
{
	seconds++;
	for (int i = 0; i <= RECORDED_OTHERS; i++)
		second->services[i].opened = second->services[i].refused = 0;
}

void
recorded_services_reset(void)
{
	memset(opened_seen, 0, sizeof(opened_seen));
	memset(refused_seen, 0, sizeof(refused_seen));
	memset(refused_others_seen, 0, sizeof(refused_others_seen));
	opened_others_seen = 0;
}

static void
services_forget(RecordedSecond *second)
{
	memset(second->services, 0, sizeof(second->services));
	second->nservices = 0;
}

void
recorded_services_begin(RecordedSecond *second, bool anew)
{
	services_forget(second);
	recorded_services_reset();
	if (!anew)
		recorded_services_count(second, true);	/* what was counted so far is no part of it */
	services_forget(second);
}

int
recorded_service_place(const char *service)
{
	char		printable[SERVICE_LEN];
	uint64		name;
	int			i;

	for (i = 0; service[i] != '\0' && i < SERVICE_LEN - 1; i++)
		printable[i] = service[i] >= ' ' && service[i] <= '~' ? service[i] : '?';
	printable[i] = '\0';
	name = name_hash(printable);
	for (i = 0; i < RECORDED_SERVICES_MAX; i++)
		if (places[i].name == name)
			return i;
	return RECORDED_OTHERS;
}

/*
 * service_namesakes.c
 *		The small services of a role: perhaps one application, with a name for each process.
 *
 * Then no service shows how many sessions the application has; so they are counted
 * together, and from how many hosts, and in how many databases, they come.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "api/views/service_namesakes.h"

/* The most sessions of a service whose name is, perhaps, that of a process. */
#define NAMESAKE_MAX	2

typedef struct Member
{
	Service    *service;
	Oid			database;
	uint32		client;
} Member;

struct ServiceNamesakes
{
	int			n;
	Member		sessions[FLEXIBLE_ARRAY_MEMBER];	/* MaxConnections */
};

ServiceNamesakes *
service_namesakes_create(void)
{
	ServiceNamesakes *namesakes = palloc_extended(offsetof(ServiceNamesakes, sessions) + sizeof(Member) * MaxConnections, MCXT_ALLOC_HUGE);

	namesakes->n = 0;
	return namesakes;
}

void
service_namesakes_note(ServiceNamesakes *namesakes, Service *service, const Slot *slot)
{
	namesakes->sessions[namesakes->n++] = (Member) {service, slot->database, slot->client};
}

/* Those of small services come first, by role. */
static int
compare_roles(const Member *x, const Member *y)
{
	bool		x_small = x->service->in_use <= NAMESAKE_MAX;
	bool		y_small = y->service->in_use <= NAMESAKE_MAX;

	if (x_small != y_small)
		return x_small ? -1 : 1;
	return (x->service->key.role > y->service->key.role) - (x->service->key.role < y->service->key.role);
}

static int
compare_services(const void *a, const void *b)
{
	const Member *x = a;
	const Member *y = b;
	int			by_role = compare_roles(x, y);

	return by_role != 0 ? by_role : (x->service > y->service) - (x->service < y->service);
}

static int
compare_databases(const void *a, const void *b)
{
	const Member *x = a;
	const Member *y = b;

	return (x->database > y->database) - (x->database < y->database);
}

static int
compare_clients(const void *a, const void *b)
{
	const Member *x = a;
	const Member *y = b;

	return (x->client > y->client) - (x->client < y->client);
}

/* Returns how many different ones there are; puts them in that order. */
static int
count_different(Member *members, int n, int (*compare) (const void *a, const void *b))
{
	int			different = 1;

	qsort(members, n, sizeof(Member), compare);
	for (int i = 1; i < n; i++)
		different += compare(&members[i - 1], &members[i]) != 0;
	return different;
}

/* The sessions of the small services of one role. */
static void
role_find(Member *members, int n)
{
	Namesakes	found = {.sessions = n};

	for (int i = 0; i < n; i++)
		if (i == 0 || members[i - 1].service != members[i].service)
		{
			found.services++;
			found.idle += members[i].service->by_state[SLOT_IDLE];
		}
	found.databases = count_different(members, n, compare_databases);
	found.hosts = count_different(members, n, compare_clients);
	for (int i = 0; i < n; i++)
		members[i].service->usage.namesakes = found;
}

void
service_namesakes_find(ServiceNamesakes *namesakes)
{
	Member	   *members = namesakes->sessions;

	qsort(members, namesakes->n, sizeof(Member), compare_services);
	for (int from = 0, to; from < namesakes->n && members[from].service->in_use <= NAMESAKE_MAX; from = to)
	{
		for (to = from + 1; to < namesakes->n && compare_roles(&members[from], &members[to]) == 0;)
			to++;
		role_find(members + from, to - from);
	}
}

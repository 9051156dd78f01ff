/*
 * service_namesakes.c
 *		The small services of a role: perhaps one application, with a name for each process.
 *
 * Then no service shows how many sessions the application has; so they are counted
 * together, and from how many hosts, and in how many databases, they come.
 */
#include "postgres.h"

#include "api/views/service_sessions.h"

/* The most sessions of a service whose name is, perhaps, that of a process. */
#define NAMESAKE_MAX	2

/* Those of small services come first, by role. */
static int
compare_roles(const ServiceSession *x, const ServiceSession *y)
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
	const ServiceSession *x = a;
	const ServiceSession *y = b;
	int			by_role = compare_roles(x, y);

	return by_role != 0 ? by_role : (x->service > y->service) - (x->service < y->service);
}

static int
compare_databases(const void *a, const void *b)
{
	const ServiceSession *x = a;
	const ServiceSession *y = b;

	return (x->database > y->database) - (x->database < y->database);
}

static int
compare_clients(const void *a, const void *b)
{
	const ServiceSession *x = a;
	const ServiceSession *y = b;

	return (x->client > y->client) - (x->client < y->client);
}

/* Returns how many different ones there are; puts them in that order. */
static int
count_different(ServiceSession *members, int n, int (*compare) (const void *a, const void *b))
{
	int			different = 1;

	qsort(members, n, sizeof(ServiceSession), compare);
	for (int i = 1; i < n; i++)
		different += compare(&members[i - 1], &members[i]) != 0;
	return different;
}

/* The sessions of the small services of one role. */
static void
role_find(ServiceSession *members, int n)
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
service_namesakes_find(ServiceSessions *all)
{
	ServiceSession *members = all->sessions;

	qsort(members, all->n, sizeof(ServiceSession), compare_services);
	for (int from = 0, to; from < all->n && members[from].service->in_use <= NAMESAKE_MAX; from = to)
	{
		for (to = from + 1; to < all->n && compare_roles(&members[from], &members[to]) == 0;)
			to++;
		role_find(members + from, to - from);
	}
}

/*
 * service_generations.c
 *		Generations of the sessions of each service: those that were all left before the next
 *		were opened.
 *
 * A hot reload that forgets the pool before leaves its sessions so, and opens as many; so
 * does a client host that vanished without a word and is up again. An instance in reserve
 * looks the same, so this accuses none.
 */
#include "postgres.h"

#include "api/views/service_sessions.h"
#include "observe/monitor/leak_detector.h"

/* One session alone is no generation: it may be a job beside a pool.  Nor is a reserve that was never used. */
#define GENERATION_MIN	2

/* What an old session did in so much of the threshold after the next ones came was its last. */
#define LAST_PART	4

static int
compare_hosts(const ServiceSession *x, const ServiceSession *y)
{
	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	if (x->database != y->database)
		return x->database < y->database ? -1 : 1;
	return (x->client > y->client) - (x->client < y->client);
}

/* By service, database and client host; the oldest first. */
static int
compare_members(const void *a, const void *b)
{
	const ServiceSession *x = a;
	const ServiceSession *y = b;
	int			by_host = compare_hosts(x, y);

	return by_host != 0 ? by_host : (x->started > y->started) - (x->started < y->started);
}

/* Notes the sessions from "first" up to "end" as a generation, if enough of them worked. */
static void
generation_note(const ServiceSession *first, const ServiceSession *end, Usage *usage)
{
	TimestampTz used = first->used;
	int			worked = 0;

	for (const ServiceSession *member = first; member < end; member++)
	{
		worked += member->worked;
		used = Max(used, member->used);
	}
	if (worked < GENERATION_MIN)
		return;
	usage->generations++;
	usage->left += worked;
	if (usage->left_since == 0 || used < usage->left_since)
		usage->left_since = used;
}

/* Finds the generations among the sessions of one service from one host. */
static void
host_find(const ServiceSession *members, const ServiceSession *end, TimestampTz now)
{
	int64		threshold_us = leak_threshold * INT64CONST(1000);
	TimestampTz used = members->used;
	const ServiceSession *first = members;

	for (const ServiceSession *next = members + 1; next < end && now - used > threshold_us; next++)
	{
		/* All before this one were left when it was opened, or soon after. */
		if (used <= next->started + threshold_us / LAST_PART)
		{
			generation_note(first, next, &members->service->usage);
			first = next;
		}
		used = Max(used, next->used);
	}
}

void
service_generations_find(ServiceSessions *all, TimestampTz now)
{
	ServiceSession *members = all->sessions;

	qsort(members, all->n, sizeof(ServiceSession), compare_members);
	for (int from = 0, to; from < all->n; from = to)
	{
		for (to = from + 1; to < all->n && compare_hosts(&members[from], &members[to]) == 0;)
			to++;
		host_find(members + from, members + to, now);
	}
}

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

#include "miscadmin.h"

#include "api/views/service_generations.h"
#include "observe/monitor/leak_detector.h"

/* One session alone is no generation: it may be a job beside a pool.  Nor is a reserve that was never used. */
#define GENERATION_MIN	2

/* What an old session did in so much of the threshold after the next ones came was its last. */
#define LAST_PART	4

typedef struct Member
{
	Service    *service;
	Oid			database;
	uint32		client;
	TimestampTz started;
	TimestampTz used;			/* when it began to do what it does, or rests */
	bool		worked;			/* later than soon after its start; and it does not rest on purpose */
} Member;

struct ServiceGenerations
{
	int			n;
	Member		sessions[FLEXIBLE_ARRAY_MEMBER];	/* MaxConnections */
};

ServiceGenerations *
service_generations_create(void)
{
	ServiceGenerations *generations = palloc_extended(offsetof(ServiceGenerations, sessions) + sizeof(Member) * MaxConnections, MCXT_ALLOC_HUGE);

	generations->n = 0;
	return generations;
}

void
service_generations_note(ServiceGenerations *generations, Service *service, int number, const Slot *slot)
{
	generations->sessions[generations->n++] = (Member) {
		.service = service, .database = slot->database, .client = slot->client,
		.started = slot->started, .used = slot->state_since,
		.worked = !session_use(number, slot).used_once && !slot_has_idle_reason(number, slot),
	};
}

static int
compare_hosts(const Member *x, const Member *y)
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
	const Member *x = a;
	const Member *y = b;
	int			by_host = compare_hosts(x, y);

	return by_host != 0 ? by_host : (x->started > y->started) - (x->started < y->started);
}

/* Notes the sessions from "first" up to "end" as a generation, if enough of them worked. */
static void
generation_note(const Member *first, const Member *end, Usage *usage)
{
	TimestampTz used = first->used;
	int			worked = 0;

	for (const Member *member = first; member < end; member++)
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
host_find(const Member *members, const Member *end, TimestampTz now)
{
	int64		threshold_us = leak_threshold * INT64CONST(1000);
	TimestampTz used = members->used;
	const Member *first = members;

	for (const Member *next = members + 1; next < end && now - used > threshold_us; next++)
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
service_generations_find(ServiceGenerations *generations, TimestampTz now)
{
	Member	   *members = generations->sessions;

	qsort(members, generations->n, sizeof(Member), compare_members);
	for (int from = 0, to; from < generations->n; from = to)
	{
		for (to = from + 1; to < generations->n && compare_hosts(&members[from], &members[to]) == 0;)
			to++;
		host_find(members + from, members + to, now);
	}
}

/*
 * facts.c
 *		Reads what explanations are judged by.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "advise/explain/facts.h"
#include "base/text.h"
#include "event/loop.h"
#include "observe/slots/borrower.h"
#include "observe/slots/ledger.h"
#include "observe/slots/lock_wait.h"
#include "shmem/monitor_status.h"

/* What was refused so long ago is still news. */
#define NEWS_US			(FACTS_SLICES * FACTS_SLICE_S * USECS_PER_SEC)

/* The services of a role. */
typedef struct RoleServices
{
	Oid			role;			/* must be first: the key of the table */
	int			small;
} RoleServices;

/* Returns how many sessions are worth a word: a tenth of what can be held, and three at the least. */
int
facts_crowd(const Facts *facts)
{
	return Max(facts->census.capacity / 10, 3);
}

/* Returns how many logins were refused for lack of slots in the last minute. */
uint64
facts_refused(const Facts *facts)
{
	uint64		refused = 0;

	for (int i = 0; i < FACTS_SLICES; i++)
		refused += facts->slices[i].refused;
	return refused;
}

/* Returns how long something takes, as "0.4 s", "12 s" or "3 min", palloc'd. */
char *
seconds_text(int64 ms)
{
	if (ms < 10 * 1000)
		return psprintf("%.1f s", ms / 1000.0);
	if (ms < 600 * 1000)
		return psprintf(INT64_FORMAT " s", ms / 1000);
	return psprintf(INT64_FORMAT " min", ms / 60000);
}

/* Returns whether the pool has little left to hand out; one that is closed has nothing to. */
bool
pool_is_pressed(const PoolRow *pool)
{
	return pool->limit.capacity > 0 && pool->health >= HEALTH_CRITICAL;
}

bool
facts_monitors_unknown(Oid role)
{
	return false;
}

bool
facts_exempt_unknown(Oid role)
{
	return true;
}

/* Takes the pools, and finds those that have little left. */
void
facts_set_pools(Facts *facts, const PoolRow *pools, int npools)
{
	facts->pools = pools;
	facts->npools = npools;
	for (int i = 0; i < npools; i++)
		if (pool_is_pressed(&pools[i]))
			facts->pressed = lappend(facts->pressed, (void *) &pools[i]);
}

/* Returns whether a pool that the session is in has little left. */
bool
facts_press(const Facts *facts, const Slot *slot)
{
	ListCell   *cell;

	foreach(cell, facts->pressed)
	{
		const PoolLimit *limit = &((const PoolRow *) lfirst(cell))->limit;

		if (limit->kind == POOL_SERVER ||
			(limit->kind == POOL_ROLE && limit->oid == slot->role) ||
			(limit->kind == POOL_DATABASE && limit->oid == slot->database))
			return true;
	}
	return false;
}

/* Names a service that is to be shown: most are not, and a name takes longer than all else. */
void
service_require_name(const Facts *facts, HeldService *service)
{
	if (service->name != NULL)
		return;
	facts->source->name(service);
	if (facts->source->may_see(service->key.role))
		return;
	service->name = "a service that is not shown";
	service->usename = NULL;
}

/* Returns that service; one that is new holds nothing yet. */
HeldService *
facts_service(const Facts *facts, const ServiceKey *key)
{
	bool		found;
	HeldService *service = hash_search(facts->services, key, HASH_ENTER, &found);

	if (!found)
		memset((char *) service + sizeof(*key), 0, sizeof(*service) - sizeof(*key));
	return service;
}

/* Counts the session in its service. */
static HeldService *
service_add(const Facts *facts, const Slot *slot)
{
	ServiceKey	key = service_key(slot);
	HeldService *service = facts_service(facts, &key);

	service->in_use++;
	service->idle += slot->state == SLOT_IDLE;
	return service;
}

static int64
ms_since(const Facts *facts, TimestampTz then)
{
	return then != 0 ? Max((facts->now - then) / 1000, 0) : 0;
}

/* By the monotonic clock where the monitor has seen the state begin. */
static int64
state_ms(const Facts *facts, const SessionFacts *session, int number)
{
	uint64		login_us;

	if (session->slot.state == SLOT_AUTHENTICATING)
	{
		login_us = slot_login_since_us(number, &session->slot);
		return login_us != 0 && login_us < facts->now_us ? (int64) (facts->now_us - login_us) / 1000 : 0;
	}
	if (session->watched != NULL && session->watched->seen.state_since == session->slot.state_since)
		return (int64) leak_held_us(session->watched, facts->now_us) / 1000;
	return ms_since(facts, session->slot.state_since);
}

static void
session_read(Facts *facts, int number, const LeakSession *watched)
{
	SessionFacts *session = &facts->sessions[facts->nsessions];

	if (!slot_read(number, &session->slot))
		return;
	if (facts->watched && watched->seen.pid == session->slot.pid && watched->seen.started == session->slot.started)
	{
		session->watched = watched;
		session->rule = watched->rule;
	}
	if (session->slot.state != SLOT_AUTHENTICATING)
		session->service = service_add(facts, &session->slot);
	session->run = slot_run(&session->slot);
	session->of_run = session->run != NULL;
	session->listens = slot_listens(number, &session->slot);
	borrower_read(number, &session->slot, &session->borrower);
	text_make_printable(session->borrower.name);
	session->pressed = facts_press(facts, &session->slot);
	session->state_ms = state_ms(facts, session, number);
	session->age_ms = ms_since(facts, session->slot.started);
	facts->nsessions++;
}

/* Counts for each service those of the same role that are small, and asks of the others what they are for. */
void
facts_compare_services(const Facts *facts)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(RoleServices), .hcxt = CurrentMemoryContext};
	HTAB	   *roles = hash_create("pool_exhaust roles", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HASH_SEQ_STATUS seq;
	HeldService *service;
	RoleServices *role;
	bool		found;

	hash_seq_init(&seq, facts->services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		role = hash_search(roles, &service->key.role, HASH_ENTER, &found);
		role->small = (found ? role->small : 0) + (service->in_use <= SMALL_SERVICE);
	}
	hash_seq_init(&seq, facts->services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		role = hash_search(roles, &service->key.role, HASH_FIND, NULL);
		service->alike = role->small;
		service->monitoring = service->in_use > SMALL_SERVICE && facts->source->monitors(service->key.role);
	}
	hash_destroy(roles);
}

static int
compare_pids(const void *a, const void *b)
{
	return ((const SessionFacts *) a)->slot.pid - ((const SessionFacts *) b)->slot.pid;
}

static SessionFacts *
session_of(const Facts *facts, int pid)
{
	SessionFacts key = {.slot.pid = pid};

	return bsearch(&key, facts->sessions, facts->nsessions, sizeof(SessionFacts), compare_pids);
}

/* Counts a session that waits with what it waits behind. */
static void
wait_add(const Facts *facts, const LockWait *wait)
{
	SessionFacts *waiter = session_of(facts, wait->pid);
	SessionFacts *session = session_of(facts, wait->root_pid);
	LockRoot   *root;
	bool		found;

	if (waiter == NULL || session == waiter || wait->root_pid == LOCK_WAIT_UNKNOWN)
		return;
	root = hash_search(facts->roots, &wait->root_pid, HASH_ENTER, &found);
	if (!found)
		*root = (LockRoot) {.pid = wait->root_pid, .session = session};
	root->waiters++;
	root->longest_ms = Max(root->longest_ms, ms_since(facts, wait->since));
	root->several |= wait->several;
	waiter->root = root;
	if (session != NULL)
		session->root = root;
}

/* Which sessions wait for a lock, and behind what.  The sessions must be in the order of their pids. */
static void
locks_read(Facts *facts)
{
	LockWait   *waits = palloc_extended(sizeof(LockWait) * MaxBackends, MCXT_ALLOC_HUGE);
	int			n = lock_waits_read(waits, MaxBackends);

	for (int i = 0; i < n; i++)
		wait_add(facts, &waits[i]);
	pfree(waits);
}

/* Returns facts without any yet, palloc'd, with room for so many sessions. */
Facts *
facts_begin(const FactsSource *source, int sessions_max)
{
	Facts	   *facts = palloc0(sizeof(Facts));
	HASHCTL		of_services = {.keysize = sizeof(ServiceKey), .entrysize = sizeof(HeldService), .hcxt = CurrentMemoryContext};
	HASHCTL		of_roots = {.keysize = sizeof(int), .entrysize = sizeof(LockRoot), .hcxt = CurrentMemoryContext};

	facts->source = source;
	facts->services = hash_create("pool_exhaust held services", 64, &of_services, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	facts->roots = hash_create("pool_exhaust lock roots", 64, &of_roots, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	facts->sessions = palloc_extended(sizeof(SessionFacts) * sessions_max, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	return facts;
}

/*
 * Reads all of them, of this moment; palloc'd, with all that is in it.  Takes the lock, and
 * those of the lock manager, for moments.
 */
Facts *
facts_read(const FactsSource *source)
{
	Facts	   *facts = facts_begin(source, MaxConnections);
	LeakSession *watched = leak_sessions_copy(&facts->watched);

	facts->now = GetCurrentTimestamp();
	facts->now_us = loop_now_us();
	facts->blind_since = (TimestampTz) ledger_blind_since(REFUSED_BACKEND);
	census_take(&facts->census);
	facts_set_pools(facts, pools_read(source->limits), list_length(source->limits));
	timeline_slices(facts->now - NEWS_US, facts->now, facts->slices, FACTS_SLICES);
	for (int i = 0; i < MaxConnections; i++)
		session_read(facts, i, &watched[i]);
	qsort(facts->sessions, facts->nsessions, sizeof(SessionFacts), compare_pids);
	locks_read(facts);
	facts_compare_services(facts);
	return facts;
}

/*
 * world.c
 *		A server without a server: clock, sessions, and the truth about them.
 *
 * Time goes from event to event.  All that is drawn at random comes from one
 * generator, so a seed decides everything that happens.
 */
#include "world.h"

#include <math.h>

#define ARENA_BYTES (64 * 1024 * 1024)
#define EVENTS_MAX	(1 << 18)

typedef struct Entry
{
	uint64		at_us;
	uint64		number;			/* of two at one moment the one that was told first */
	Event		event;
	void	   *what;
	int64		arg;
} Entry;

World		world;

static Entry *heap;
static int	nheap;
static uint64 told;
static char *arena;
static size_t arena_used;
static uint64 random_state;
static int	last_pid;
static int	free_slots[SLOTS];	/* as the server's free PGPROCs: a stack */
static int	nfree;

void
die(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	fputs("detection: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	exit(2);
}

void
world_begin(uint64 seed)
{
	if (arena == NULL)
	{
		arena = malloc(ARENA_BYTES);
		heap = malloc(sizeof(Entry) * EVENTS_MAX);
		if (arena == NULL || heap == NULL)
			die("out of memory");
	}
	memset(&world, 0, sizeof(world));
	world.now_us = HOUR;		/* the machine has been up for a while */
	world.clock_us = (int64) 700000 * HOUR / 24;
	arena_used = 0;
	nheap = 0;
	told = 0;
	last_pid = 1000;
	random_state = seed * UINT64CONST(0x9E3779B97F4A7C15) + 1;
	for (nfree = 0; nfree < SLOTS; nfree++)
		free_slots[nfree] = SLOTS - 1 - nfree;
}

/* Memory that lasts until the next world. */
void *
world_alloc(size_t size)
{
	void	   *memory = arena + arena_used;

	size = (size + 15) & ~(size_t) 15;
	if (arena_used + size > ARENA_BYTES)
		die("out of memory for one run");
	arena_used += size;
	return memset(memory, 0, size);
}

/* ---------- Chance ---------- */

static uint64
random_bits(void)
{
	uint64		z = (random_state += UINT64CONST(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

double
uniform(void)
{
	return (random_bits() >> 11) * 0x1.0p-53;
}

double
between(double least, double most)
{
	return least + (most - least) * uniform();
}

uint64
around(uint64 mean_us)
{
	return (uint64) (-log(1.0 - uniform()) * (double) mean_us);
}

int
below(int n)
{
	return (int) (uniform() * n);
}

bool
chance(double probability)
{
	return uniform() < probability;
}

/* ---------- Events ---------- */

static bool
is_before(const Entry *a, const Entry *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

void
at(uint64 when_us, Event event, void *what, int64 arg)
{
	Entry		entry = {when_us, told++, event, what, arg};
	int			i = nheap++;

	if (nheap > EVENTS_MAX)
		die("too many events");
	for (; i > 0 && is_before(&entry, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = entry;
}

void
after(uint64 delay_us, Event event, void *what, int64 arg)
{
	at(world.now_us + delay_us, event, what, arg);
}

static Entry
heap_pop(void)
{
	Entry		top = heap[0];
	Entry		last = heap[--nheap];
	int			i = 0;

	for (int child = 1; child < nheap; child = 2 * i + 1)
	{
		if (child + 1 < nheap && is_before(&heap[child + 1], &heap[child]))
			child++;
		if (!is_before(&heap[child], &last))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return top;
}

/* Lets happen what happens up to a moment. */
void
world_advance(uint64 until_us)
{
	while (nheap > 0 && heap[0].at_us <= until_us)
	{
		Entry		entry = heap_pop();

		world.now_us = entry.at_us;
		entry.event(entry.what, entry.arg);
	}
	world.now_us = until_us;
}

/* ---------- Sessions ---------- */

Service *
service_new(void)
{
	Service    *service = &world.services[world.nservices++];

	if (world.nservices > SERVICES)
		die("too many services");
	service->hash = random_bits();
	return service;
}

typedef struct Login
{
	Ref			ref;
	Event		ready;
	void	   *arg;
} Login;

/* The login is through; until then it is not known whose it is. */
static void
session_ready(void *what, int64 arg)
{
	Login	   *login = what;
	Session    *session = session_of(login->ref);

	if (session == NULL)
		return;
	session->visible = true;
	session->service->sessions++;
	session_turn(session, SLOT_IDLE);
	if (login->ready != NULL)
		login->ready(login->arg, session_slot(session));
}

/* Connects; the event is told the slot when the login is through. */
Session *
session_open(Service *service, const char *what, Event ready, void *arg)
{
	Login	   *login = world_alloc(sizeof(Login));
	Session    *session;

	if (nfree == 0)
		die("the server is full");
	session = &world.sessions[free_slots[--nfree]];
	*session = (Session)
	{
		.pid = ++last_pid,
		.service = service,
		.what = what,
		.started = world.now_us + world.clock_us,
		.opened_us = world.now_us,
		.since_us = world.now_us,
		.alarm = -1,
	};
	world.nslots = Max(world.nslots, session_slot(session) + 1);
	*login = (Login) {session_ref(session), ready, arg};
	after((uint64) between(2 * MS, 8 * MS) + around(3 * MS), session_ready, login, 0);
	return session;
}

void
session_close(Session *session)
{
	if (session->visible)
	{
		world.closing(session);
		session->service->sessions--;
		session->service->lost -= session->lost;
	}
	session->pid = 0;
	free_slots[nfree++] = session_slot(session);
}

/* A statement begins or ends, which the server notes even if the state is the same. */
void
session_turn(Session *session, SlotState state)
{
	session->uses += state != SLOT_IDLE && session->state == SLOT_IDLE;
	session->state = state;
	session->state_since = world.now_us + world.clock_us;
	session->since_us = world.now_us;
	if (state != SLOT_IDLE_IN_TRANSACTION)
		session->aborted = false;
}

void
session_lose(Session *session)
{
	session->service->lost += !session->lost;
	session->lost = true;
}

/* From now on its application has forgotten it. */
void
session_leak(Session *session, LeakRule rule)
{
	session->leak = rule;
	session->leaked_us = world.now_us;
	session_lose(session);
	session->others_then = session->service->sessions - session->service->lost;
	if (rule != LEAK_GROWTH)
		return;
	if (session->opened_us < session->service->occasion_us + world.threshold_ms * MS / 8 &&
		session->service->occasions > 0)
		return;
	session->service->occasions++;
	session->service->occasion_us = session->opened_us;
}

Ref
session_ref(const Session *session)
{
	return (Ref) {session_slot(session), session->pid};
}

Session *
session_of(Ref ref)
{
	Session    *session = &world.sessions[ref.slot];

	return session->pid == ref.pid ? session : NULL;
}

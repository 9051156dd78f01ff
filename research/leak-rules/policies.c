/*
 * policies.c
 *		How pools are set up in production, loads, and leaks for all workloads.
 */
#include "workloads.h"

const char *const variant_names[VARIANTS] = {
	[HEALTHY] = "healthy",
	[HELD] = "never given back",
	[TAGGED] = "never given back, borrower named",
	[LOST] = "lost one after the other",
	[GROWTH_FAST] = "forgotten, 3/s",
	[GROWTH_MEDIUM] = "forgotten, 1 in 5 s",
	[GROWTH_MINUTE] = "forgotten, 1 a minute",
	[GROWTH_SLOW] = "forgotten, 1 in 10 min",
	[GROWTH_WORKING] = "forgotten after work, 1 in 10 s",
};

/* QueuePool(pool_size=5, max_overflow=10): what is beyond 5 idle ones is closed. */
const Policy sqla_fifo = {
	.name = "SQLAlchemy QueuePool 5 + 10", .order = OLDEST_BACK,
	.keep = 5, .most = 15, .own = true,
};

/* pool_use_lifo=True, pool_recycle=1800, pool_pre_ping=True, 10 + 10 */
const Policy sqla_lifo = {
	.name = "SQLAlchemy QueuePool LIFO 10 + 10", .order = NEWEST_BACK,
	.keep = 10, .most = 20, .own = true, .ping = true,
	.lifetime_s = 1800, .lazily = true,
};

/* The defaults: minimumIdle = maximumPoolSize = 10. */
const Policy hikari_fixed = {
	.name = "HikariCP 10", .order = FIRST_IN_LIST,
	.least = 10, .keep = POOL_MAX, .most = 10,
	.lifetime_s = 1800, .jitter = 0.025, .house_s = 30, .setup = 1,
};

/* The same with the default of newer versions: a sign of life every 2 minutes. */
const Policy hikari_alive = {
	.name = "HikariCP 10, keepalive", .order = FIRST_IN_LIST,
	.least = 10, .keep = POOL_MAX, .most = 10, .keepalive_s = 120,
	.lifetime_s = 1800, .jitter = 0.025, .house_s = 30, .setup = 1,
};

/* minimumIdle = 3, maximumPoolSize = 20 */
const Policy hikari_min = {
	.name = "HikariCP 3 to 20", .order = FIRST_IN_LIST,
	.least = 3, .keep = POOL_MAX, .most = 20,
	.lifetime_s = 1800, .jitter = 0.025, .idle_s = 600, .house_s = 30, .setup = 1,
};

/* min_size=4, max_size=20; one unused connection is closed each max_idle */
const Policy psycopg_pool = {
	.name = "psycopg_pool 4 to 20", .order = OLDEST_BACK,
	.least = 4, .least_open = true, .keep = POOL_MAX, .most = 20, .one_by_one = true,
	.lifetime_s = 3600, .jitter = 0.05, .lazily = true,
	.idle_s = 0.001, .house_s = 600, .shrinks_slowly = true,
};

/* default_pool_size = 20, and old servers are closed one after the other */
const Policy pgbouncer = {
	.name = "PgBouncer 20", .order = NEWEST_BACK,
	.keep = POOL_MAX, .most = 20, .one_by_one = true,
	.lifetime_s = 3600, .jitter = 0.3, .idle_s = 600, .house_s = 30,
};

/* pool: 5, the reaper closes what was idle for 5 minutes */
const Policy rails = {
	.name = "ActiveRecord 5", .order = NEWEST_BACK,
	.keep = 5, .most = 5, .own = true, .idle_s = 300, .house_s = 60,
};

/* One for each process, as long as it lives. */
const Policy persistent = {
	.name = "one a process", .order = NEWEST_BACK,
	.keep = 1, .most = 1, .own = true, .own_thread = true,
};

/* CONN_MAX_AGE = 600: looked at when the next request comes */
const Policy django = {
	.name = "Django, CONN_MAX_AGE 600", .order = NEWEST_BACK,
	.keep = 1, .most = 1, .own = true, .own_thread = true,
	.lifetime_s = 600, .lazily = true,
};

const Policy uwsgi = {
	.name = "QueuePool 5 + 10 in each process", .order = OLDEST_BACK,
	.keep = 5, .most = 15, .own = true, .ping = true,
	.lifetime_s = 3600, .lazily = true,
};

/* SetMaxOpenConns(40), SetConnMaxLifetime(5 min), and two idle ones as by default */
const Policy go_sql = {
	.name = "database/sql", .order = NEWEST_BACK,
	.keep = 2, .most = 40, .own = true, .lifetime_s = 300, .house_s = 10,
};

/* max 10, idleTimeoutMillis 10,000 */
const Policy node_pg = {
	.name = "node-postgres 10", .order = NEWEST_BACK,
	.keep = 10, .most = 10, .own = true, .idle_s = 10, .house_s = 1,
};

/* minPoolSize 3, maxPoolSize 15, acquireIncrement 3 */
const Policy c3p0 = {
	.name = "c3p0 3 to 15", .order = OLDEST_BACK,
	.least = 3, .least_open = true, .keep = POOL_MAX, .most = 15, .step = 3, .house_s = 60,
};

/* Connection Idle Lifetime 300, pruned every 10 s */
const Policy npgsql = {
	.name = "Npgsql", .order = NEWEST_BACK,
	.keep = POOL_MAX, .most = 60, .own = true, .idle_s = 300, .house_s = 10,
};

/* min_size=10, max_size=10, max_inactive_connection_lifetime=300 */
const Policy asyncpg = {
	.name = "asyncpg 10", .order = NEWEST_BACK,
	.keep = 10, .most = 10, .own = true, .idle_s = 300, .house_s = 1,
};

const Policy per_request = {
	.name = "none", .order = NEWEST_BACK, .keep = 0, .most = 40, .own = true, .own_thread = true,
};

const Shape web = {.least = 1, .most = 6, .statement_ms = 4, .gap_ms = 3,
.transactions = 0.4, .heavy = 0.01};

/* ---------- Loads ---------- */

double
steady(uint64 at_us)
{
	return 1;
}

/* An evening, a night with next to nothing, and a morning. */
double
night(uint64 at_us)
{
	double		hour = (double) at_us / HOUR;

	if (hour < 0.8)
		return 1 - hour;
	if (hour < 2)
		return 0.002;
	return Min(1, 0.002 + (hour - 2) * 1.2);
}

/* 20 s in 5 minutes. */
double
bursts(uint64 at_us)
{
	return at_us % (5 * MINUTE) < 20 * SECOND ? 1 : 0.06;
}

double
steps(uint64 at_us)
{
	static const double of[] = {0.1, 0.3, 1, 0.05, 0.6, 0.2};

	return of[at_us / (18 * MINUTE) % lengthof(of)];
}

/* All at once in the first minutes after a start, and every two hours. */
double
rarely(uint64 at_us)
{
	return at_us % (2 * HOUR) < 3 * MINUTE ? 1 : 0.25;
}

/* Nothing for most of an hour, then all at once. */
double
late(uint64 at_us)
{
	return at_us < 50 * MINUTE ? 0 : 1;
}

/* ---------- Leaks ---------- */

static void
inject_one(void *what, int64 kind)
{
	if (kind < 4)
		injection.abandoned++;
	else if (kind < 6)
		injection.in_transaction++;
	else if (kind < 7)
		injection.aborted++;
	else
		injection.dead++;
}

typedef struct Forgetter
{
	Service    *service;
	Variant		variant;
	int			left;
} Forgetter;

typedef struct Forgetting
{
	Ref			ref;
	int			statements;
	double		gap_ms;
} Forgetting;

/* Its last statement is over, and so is the function that had it. */
static void
forget_step(void *what, int64 arg)
{
	Forgetting *it = what;
	Session    *session = session_of(it->ref);

	if (session->state == SLOT_ACTIVE)
	{
		session_turn(session, SLOT_IDLE);
		if (--it->statements == 0)
			session_leak(session, LEAK_GROWTH);
		else
			after(around((uint64) (it->gap_ms * MS)), forget_step, it, 0);
		return;
	}
	session_turn(session, SLOT_ACTIVE);
	after(around(5 * MS), forget_step, it, 0);
}

static void
forget_ready(void *what, int64 slot)
{
	Forgetting *it = what;

	after(around(MS), forget_step, it, 0);
}

static void
forget_next(void *what, int64 arg)
{
	static const uint64 every_ms[VARIANTS] = {[GROWTH_FAST] = 333, [GROWTH_MEDIUM] = 5000, [GROWTH_MINUTE] = 60000,
		[GROWTH_SLOW] = 600000, [GROWTH_WORKING] = 10000};
	Forgetter  *forgetter = what;
	Forgetting *it = world_alloc(sizeof(Forgetting));
	bool		works = forgetter->variant == GROWTH_WORKING;
	Session    *session;

	session = session_open(forgetter->service, "opened outside the pool and forgotten",
						   forget_ready, it);
	*it = (Forgetting) {session_ref(session), works ? 2 + below(5) : 1 + below(2),
	works ? 800 : 2};
	if (--forgetter->left > 0)
		after(around(every_ms[forgetter->variant] * MS), forget_next, forgetter, 0);
}

/* The leaks of a variant, in a service, after the first quarter of an hour. */
void
leaks(Variant variant, Service *service)
{
	uint64		span_us = world.end_us - world.now_us;

	service->names_borrowers = variant == TAGGED;
	if (variant == HELD || variant == TAGGED)
	{
		for (int kind = 0; kind < 10; kind++)
			after((uint64) between(15 * MINUTE, span_us * 0.8), inject_one, NULL, kind);
	}
	else if (variant == LOST)
	{
		for (int i = 0; i < 12; i++)
			after((uint64) between(3 * i, 3 * i + 1) * world.threshold_ms * MS + 10 * MINUTE, inject_one, NULL, 0);
	}
	else if (variant != HEALTHY)
	{
		Forgetter  *forgetter = world_alloc(sizeof(Forgetter));

		*forgetter = (Forgetter) {service, variant, variant == GROWTH_FAST ? 250 : 40};
		after((uint64) between(15 * MINUTE, 35 * MINUTE), forget_next, forgetter, 0);
		if (variant == GROWTH_SLOW)
			world.end_us = Max(world.end_us, world.now_us + 5 * HOUR);
		if (variant != GROWTH_SLOW && variant != GROWTH_MINUTE)
			world.end_us = Min(world.end_us, world.now_us + HOUR);
	}
}

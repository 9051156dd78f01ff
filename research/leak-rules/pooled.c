/*
 * pooled.c
 *		Workloads: one process with a pool.
 */
#include "workloads.h"

static Fleet *
one_pool(Variant variant, const Policy *policy, Rate rate, double scale, const Shape *shape)
{
	Service    *service = service_new();
	Fleet	   *fleet = fleet_new(policy, service, policy->name, 1);

	fleet_load(fleet, rate, scale, shape);
	leaks(variant, service);
	return fleet;
}

static void
begin_fifo(Variant variant)
{
	one_pool(variant, &sqla_fifo, steady, 40, &web);
}

static void
begin_lifo(Variant variant)
{
	one_pool(variant, &sqla_lifo, bursts, 250, &web);
}

/* What was opened for a rush lies at the bottom; those above are recycled. */
static void
begin_cold_bottom(Variant variant)
{
	one_pool(variant, &sqla_lifo, rarely, 300, &web);
}

/* One process, two pools of the same user: the second is for a batch at times. */
static void
two_pools(Variant variant, const Policy *policy)
{
	Fleet	   *fleet = one_pool(variant, policy, steady, 60, &web);
	Fleet	   *batch = fleet_new(policy, fleet->service, "the second pool", 1);

	fleet->service->processes = 2;
	batch->pools[0]->leaky = false;
	fleet_load(batch, rarely, 0.001, &web);
}

static void
begin_two_pools(Variant variant)
{
	two_pools(variant, &hikari_fixed);
}

static void
begin_two_pools_alive(Variant variant)
{
	two_pools(variant, &hikari_alive);
}

static void
begin_hikari(Variant variant)
{
	one_pool(variant, &hikari_fixed, steady, 60, &web);
}

static void
begin_hikari_min(Variant variant)
{
	one_pool(variant, &hikari_min, bursts, 250, &web);
}

static void
begin_saturated(Variant variant)
{
	static const Shape slow = {.least = 2, .most = 6, .statement_ms = 30, .gap_ms = 10,
	.transactions = 0.4, .heavy = 0.01};

	one_pool(variant, &hikari_fixed, steady, 70, &slow);
}

static void
begin_psycopg(Variant variant)
{
	one_pool(variant, &psycopg_pool, bursts, 250, &web);
}

static void
begin_pgbouncer(Variant variant)
{
	one_pool(variant, &pgbouncer, steps, 150, &web);
}

/* Clients of PgBouncer in session mode keep a connection for a while. */
static void
begin_pgbouncer_session(Variant variant)
{
	static const Shape client = {.least = 3, .most = 40, .statement_ms = 10, .gap_ms = 400,
	.transactions = 0.2, .heavy = 0.02};

	one_pool(variant, &pgbouncer, steps, 2.5, &client);
}

static void
begin_night(Variant variant)
{
	one_pool(variant, &hikari_min, night, 100, &web);
}

static void
begin_go(Variant variant)
{
	one_pool(variant, &go_sql, steps, 120, &web);
}

static void
begin_node(Variant variant)
{
	one_pool(variant, &node_pg, bursts, 100, &web);
}

static void
begin_c3p0(Variant variant)
{
	one_pool(variant, &c3p0, bursts, 120, &web);
}

static void
begin_npgsql(Variant variant)
{
	one_pool(variant, &npgsql, bursts, 400, &web);
}

static void
begin_asyncpg(Variant variant)
{
	one_pool(variant, &asyncpg, steps, 80, &web);
}

static void
begin_reports(Variant variant)
{
	static const Shape report = {.least = 1, .most = 3, .statement_ms = 90000, .gap_ms = 20,
	.transactions = 0.5, .heavy = 0};
	Fleet	   *fleet = one_pool(variant, &hikari_min, steady, 15, &web);
	Fleet	   *reports = world_alloc(sizeof(Fleet));

	*reports = *fleet;
	fleet_load(reports, steady, 0.01, &report);
}

/* FETCH, and what is done with the rows takes its time. */
static void
begin_cursors(Variant variant)
{
	static const Shape cursor = {.least = 5, .most = 60, .statement_ms = 50, .gap_ms = 300,
	.transactions = 1, .heavy = 0.01};

	one_pool(variant, &sqla_fifo, steady, 0.3, &cursor);
}

const Workload pool_workloads[] = {
	{"sqlalchemy fifo", begin_fifo, 1.5, false, "a steady pool, overflow comes and goes"},
	{"sqlalchemy lifo", begin_lifo, 3, false, "bursts; recycles at checkout, so what lies at the bottom is never replaced"},
	{"sqlalchemy lifo, cold", begin_cold_bottom, 3, false, "a rush each 2 hours; the bottom is never recycled, the top is"},
	{"two pools", begin_two_pools, 2, false, "HikariCP twice, the second one hardly used"},
	{"two pools, keepalive", begin_two_pools_alive, 2, false, "the same with a sign of life every 2 minutes"},
	{"hikari", begin_hikari, 2, false, "a fixed pool, replaced every 30 minutes"},
	{"hikari min-idle", begin_hikari_min, 2, false, "bursts; fills its reserve, shrinks after 10 minutes"},
	{"hikari saturated", begin_saturated, 2, false, "always at its limit"},
	{"psycopg_pool", begin_psycopg, 2.5, false, "bursts; shrinks by one in 10 minutes"},
	{"pgbouncer transaction", begin_pgbouncer, 3, false, "steps; the most recently used server first"},
	{"pgbouncer session", begin_pgbouncer_session, 3, false, "clients keep a server for seconds"},
	{"night", begin_night, 3, false, "an evening, a dead night, a morning"},
	{"go", begin_go, 1.5, false, "two idle ones, everything else comes and goes"},
	{"node-postgres", begin_node, 1.5, false, "idle ones go after 10 s"},
	{"c3p0", begin_c3p0, 1.5, false, "opens three where it needs one"},
	{"npgsql", begin_npgsql, 1.5, false, "bursts; idle ones go after 5 minutes"},
	{"asyncpg", begin_asyncpg, 2, false, "steps; idle ones go after 5 minutes"},
	{"reports", begin_reports, 2, false, "statements of minutes beside those of milliseconds"},
	{"cursors", begin_cursors, 1.5, false, "idle in transaction between FETCHes"},
	{NULL}
};

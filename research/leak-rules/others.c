/*
 * others.c
 *		Workloads: people, batches, agents, and sessions that are idle on purpose.
 */
#include "actors.h"

/* Types for a while, and then does something else. */
static const Habit person = {.what = "a person's psql", .away_s = 1200, .first_s = 20,
.statement_ms = 150, .pause_s = 20, .statements = 8, .break_s = 900, .breaks = 4};
static const Habit analyst = {.what = "an analyst's psql", .away_s = 600, .first_s = 30,
.statement_ms = 8000, .pause_s = 40, .statements = 5, .break_s = 1200, .breaks = 3};
static const Habit all_day = {.what = "a psql that is idle all day", .first_s = 5,
.statement_ms = 50, .pause_s = 5, .statements = -3, .break_s = 20000};
static const Habit untouched = {.what = "a psql in which nothing was typed", .first_s = -1};
static const Habit watching = {.what = "\\watch 1", .first_s = 5, .statement_ms = 20,
.pause_s = -1, .statements = -100000000};
static const Habit careful = {.what = "a psql with short transactions", .away_s = 900,
.first_s = 10, .statement_ms = 100, .pause_s = -6, .statements = -5, .break_s = 300,
.breaks = 6, .transaction = true};

static Service *
people(Variant variant)
{
	Service    *service = service_new();

	for (int i = 0; i < 4; i++)
		actor_new(service, &person, 1800);
	actor_new(service, &analyst, 600);
	actor_new(service, &analyst, 1800);
	actor_new(service, &careful, 900);
	actor_new(service, &untouched, 2000);
	actor_new(service, &all_day, 10);
	actor_new(service, &watching, 1500);
	leaks(variant, service_new());	/* people leave, programs forget: beside them, in a service of its own */
	return service;
}

static void
begin_psql(Variant variant)
{
	people(variant);
}

/* A console each for this and that: one statement, and left open for hours. */
static void
begin_consoles(Variant variant)
{
	static const Habit console = {.what = "a console of an IDE", .away_s = 3000, .first_s = 3,
	.statement_ms = 300, .pause_s = 20, .statements = -1, .break_s = 3000, .breaks = 2};
	static const Habit main_one = {.what = "the metadata session of an IDE", .first_s = 0.1,
	.statement_ms = 30, .pause_s = 0.05, .statements = 20, .break_s = 600};
	Service    *service = service_new();

	actor_new(service, &main_one, 10);
	for (int i = 0; i < 7; i++)
		actor_new(service, &console, 3600);
	leaks(variant, service_new());
}

/* ---------- Batches ---------- */

static void
restore_begin(void *what, int64 arg)
{
	static const Habit restore = {.what = "pg_restore -j", .first_s = 0.05, .statement_ms = 1500,
	.pause_s = 0.01, .statements = 150, .breaks = 1};
	static const Habit script = {.what = "psql -f", .first_s = 0.01, .statement_ms = 4000,
	.pause_s = 0.005, .statements = 30, .breaks = 1};

	for (int i = 0; i < 4; i++)
		actor_new(what, &restore, 0.5)->once = true;
	actor_new(what, &script, 300)->once = true;
	after((uint64) between(15 * MINUTE, 30 * MINUTE), restore_begin, what, 0);
}

static void
begin_batch(Variant variant)
{
	Service    *service = service_new();

	actor_new(service, &all_day, 10);
	actor_new(service, &untouched, 100);
	actor_new(service, &person, 600);
	after(10 * MINUTE, restore_begin, service, 0);
	leaks(variant, service_new());
}

/* One session has the lock and waits, the other one changes the schema. */
static void
migrate(void *what, int64 arg)
{
	static const Habit lock = {.what = "a migration's advisory lock", .first_s = 0.01,
	.statement_ms = 2, .locks = true, .pause_s = -400, .statements = -2, .breaks = 1};
	static const Habit change = {.what = "a migration", .first_s = 0.05, .statement_ms = 9000,
	.pause_s = 0.02, .statements = -40, .breaks = 1};

	actor_new(what, &lock, 0.1)->once = true;
	actor_new(what, &change, 0.3)->once = true;
	after((uint64) between(15 * MINUTE, 25 * MINUTE), migrate, what, 0);
}

static void
begin_migrations(Variant variant)
{
	Service    *service = service_new();

	fleet_load(fleet_new(&hikari_min, service, hikari_min.name, 1), bursts, 150, &web);
	after(8 * MINUTE, migrate, service, 0);
	leaks(variant, service);
}

/* The leader keeps the snapshot, in a transaction that is idle all the time. */
static void
begin_dump(Variant variant)
{
	static const Habit leader = {.what = "the leader of pg_dump -j", .away_s = -1800, .first_s = 0.01,
	.statement_ms = 20, .pause_s = -1500, .statements = -2, .breaks = 1, .transaction = true, .held = true};
	static const Habit worker = {.what = "a worker of pg_dump -j", .away_s = -1800, .first_s = 0.1,
	.statement_ms = 6000, .pause_s = 0.01, .statements = -230, .breaks = 1, .transaction = true};
	Service    *service = service_new();

	actor_new(service, &leader, 1);
	for (int i = 0; i < 4; i++)
		actor_new(service, &worker, 2);
	leaks(variant, service);
}

/* ---------- Idle on purpose ---------- */

static void
begin_listen(Variant variant)
{
	static const Habit listener = {.what = "a session that listens", .first_s = 0.01,
	.statement_ms = 1, .statements = -1, .break_s = 3000, .listens = true};
	Service    *service = service_new();

	for (int i = 0; i < 6; i++)
		actor_new(service, &listener, 5 + 60 * i);
	fleet_load(fleet_new(&sqla_fifo, service, sqla_fifo.name, 1), steps, 300, &web);
	leaks(variant, service);
}

/* Leader election: an advisory lock for as long as the process is the leader. */
static void
begin_leader(Variant variant)
{
	static const Habit leader = {.what = "a leader's advisory lock", .first_s = 0.01,
	.statement_ms = 1, .locks = true, .statements = -1, .break_s = 20000};
	Service    *service = service_new();

	actor_new(service, &leader, 0.2);
	fleet_load(fleet_new(&hikari_min, service, hikari_min.name, 1), steps, 250, &web);
	leaks(variant, service);
}

/* Background jobs that take a connection of the pool and compute for minutes. */
static void
begin_long_holders(Variant variant)
{
	static const Habit job = {.what = "a job that computes meanwhile", .away_s = 300, .first_s = 0.01,
	.statement_ms = 50, .pause_s = 120, .statements = -4, .breaks = 1, .held = true};
	Service    *service = service_new();

	fleet_load(fleet_new(&npgsql, service, npgsql.name, 1), bursts, 200, &web);
	for (int i = 0; i < 3; i++)
		actor_new(service, &job, 600);
	leaks(variant, service);
}

/* ---------- Agents ---------- */

static void
begin_agents(Variant variant)
{
	static const Habit each_15 = {.what = "an agent that asks every 15 s", .first_s = 0.01,
	.statement_ms = 30, .pause_s = 0.02, .statements = -6, .break_s = -15};
	static const Habit each_60 = {.what = "an agent that asks every 60 s", .first_s = 0.01,
	.statement_ms = 80, .pause_s = 0.02, .statements = -10, .break_s = -60};
	static const Habit comes = {.what = "an exporter that connects every 15 s", .away_s = -15,
	.first_s = 0.002, .statement_ms = 10, .pause_s = 0.002, .statements = -8, .breaks = 1};
	static const Habit hourly = {.what = "an agent that asks every 30 min", .first_s = 0.01,
	.statement_ms = 300, .pause_s = 0.02, .statements = -3, .break_s = -1800};
	Service    *service = service_new();

	actor_new(service, &hourly, 5);
	for (int i = 0; i < 4; i++)	/* one for each database, but all in one */
		actor_new(service, &each_60, 200);
	actor_new(service, &each_15, 900);
	actor_new(service, &each_15, 1800);
	actor_new(service, &comes, 60);
	leaks(variant, service);
}

/* A worker has its connection from its first job on, and a job every few minutes. */
static void
begin_queue_workers(Variant variant)
{
	Service    *service = service_new();
	Fleet	   *fleet = fleet_new(&persistent, service, "a worker of a job queue", 12);

	fleet_quota(fleet, 100);
	fleet_load(fleet, steps, 0.2, &web);
	leaks(variant, service);
}

/* A foreign server's sessions: each local one keeps its own, used or not. */
static void
begin_fdw(Variant variant)
{
	static const Shape foreign = {.least = 3, .most = 5, .statement_ms = 3, .gap_ms = 1,
	.transactions = 1, .heavy = 0.05};
	Service    *service = service_new();
	Fleet	   *fleet = fleet_new(&persistent, service, "postgres_fdw", 20);

	fleet_uneven(fleet, 0.8);
	fleet_load(fleet, bursts, 1, &foreign);
	leaks(variant, service);
}

/* A server as it is: a dozen services beside each other. */
static void
begin_mixed(Variant variant)
{
	for (int i = 0; i < 6; i++)
		pool_workloads[below(14)].begin(HEALTHY);
	people(HEALTHY);
	begin_agents(HEALTHY);
	begin_queue_workers(HEALTHY);
	leaks(variant, &world.services[below(6)]);
}

const Workload other_workloads[] = {
	{"psql", begin_psql, 3, false, "ten of several people, some idle all day, \\watch 1"},
	{"consoles", begin_consoles, 2.5, false, "an IDE: a statement in each, left open for hours",
	"to open one console after another, and leave them, is what a leak does"},
	{"batch", begin_batch, 2, false, "pg_restore -j and scripts beside an idle psql"},
	{"migrations", begin_migrations, 2, false, "one session waits with the lock while another works"},
	{"pg_dump -j", begin_dump, 2, false, "the leader is idle in transaction until the workers are through"},
	{"listen", begin_listen, 2, false, "six sessions that listen beside a pool"},
	{"leader", begin_leader, 2, false, "an advisory lock is held in an idle session beside a pool"},
	{"long holders", begin_long_holders, 2, false, "jobs that hold an idle connection for minutes, and go on"},
	{"agents", begin_agents, 2, false, "every 15 s, 60 s and 30 min, connected or connecting"},
	{"queue workers", begin_queue_workers, 2, false, "12 that connect at their first job, a job in minutes"},
	{"postgres_fdw", begin_fdw, 2, false, "20 uneven local sessions with a foreign one each"},
	{"mixed", begin_mixed, 1, false, "10 services on one server"},
	{NULL}
};

const Workload *const workload_sets[] = {pool_workloads, process_workloads, other_workloads, NULL};

/*
 * processes.c
 *		Workloads: many processes of one service, and how they come and go.
 */
#include "workloads.h"

static Fleet *
processes(Variant variant, const Policy *policy, int n, Rate rate, double scale)
{
	Service    *service = service_new();
	Fleet	   *fleet = fleet_new(policy, service, policy->name, n);

	fleet_load(fleet, rate, scale, &web);
	leaks(variant, service);
	return fleet;
}

/* The kernel wakes the same workers first; the last ones see a request at times. */
static void
begin_gunicorn(Variant variant)
{
	Fleet	   *fleet = processes(variant, &persistent, 16, bursts, 80);

	fleet->first_free = true;
	fleet_quota(fleet, 1000);
}

static void
begin_gunicorn_quiet(Variant variant)
{
	processes(variant, &persistent, 24, steady, 1.0 / 20);
}

/* The same of several hosts, seen as one behind a router. */
static void
begin_gunicorn_many(Variant variant)
{
	processes(variant, &persistent, 64, steady, 1.0 / 10);
}

static void
begin_django(Variant variant)
{
	fleet_uneven(processes(variant, &django, 12, steps, 5), 0.6);
}

static void
begin_uwsgi(Variant variant)
{
	fleet_uneven(processes(variant, &uwsgi, 6, bursts, 200), 0.6);
}

static void
begin_puma(Variant variant)
{
	processes(variant, &rails, 4, night, 60);
}

static void
begin_apache(Variant variant)
{
	Fleet	   *fleet = processes(variant, &persistent, 40, steps, 100);

	fleet->first_free = true;
	fleet_quota(fleet, 4000);
}

static void
begin_php(Variant variant)
{
	processes(variant, &per_request, 1, steps, 20);
}

/* A new container for what no running one is free to do; frozen in between. */
static void
lambda_freeze(void *what, int64 i)
{
	Fleet	   *fleet = what;

	/* Thawed for the last time to be shut down, which some runtimes do. */
	fleet_replace(fleet, i);
	after((uint64) between(5 * MINUTE, 40 * MINUTE), lambda_freeze, fleet, i);
}

static void
begin_lambda(Variant variant)
{
	Fleet	   *fleet = processes(variant, &persistent, 30, bursts, 40);

	fleet->first_free = true;
	for (int i = 0; i < fleet->n; i++)
		after((uint64) between(5 * MINUTE, 40 * MINUTE), lambda_freeze, fleet, i);
}

/* ---------- Deployments ---------- */

static void
deploy_all(void *what, int64 arg)
{
	Fleet	   *fleet = what;

	for (int i = 0; i < fleet->n; i++)
		fleet_replace(fleet, i);
	after((uint64) between(15 * MINUTE, 25 * MINUTE), deploy_all, fleet, 0);
}

static void
begin_deploy(Variant variant)
{
	deploy_all(processes(variant, &hikari_min, 2, steady, 60), 0);
}

static void
roll_kill(void *what, int64 arg)
{
	pool_kill(what);
}

/* The new one is started, the old one drained for a minute before it ends. */
static void
roll(void *what, int64 i)
{
	Fleet	   *fleet = what;
	Pool	   *old = fleet->pools[i];

	fleet->pools[i] = NULL;
	fleet_replace(fleet, i);
	after(MINUTE, roll_kill, old, 0);
	i = (i + 1) % fleet->n;
	after(i == 0 ? 20 * MINUTE : 90 * SECOND, roll, fleet, i);
}

static void
begin_rolling(Variant variant)
{
	after(10 * MINUTE, roll, processes(variant, &hikari_fixed, 4, steady, 100), 0);
}

static void
begin_rolling_fifo(Variant variant)
{
	after(10 * MINUTE, roll, processes(variant, &sqla_fifo, 4, steady, 100), 0);
}

/* The old one stays for half an hour, without traffic, in case of a rollback. */
static void
blue_green(void *what, int64 arg)
{
	Fleet	   *fleet = what;
	Pool	   *blue = fleet->pools[0];

	fleet->service->processes = 2;
	fleet->pools[0] = NULL;
	fleet_replace(fleet, 0);
	after(30 * MINUTE, roll_kill, blue, 0);
	after(50 * MINUTE, blue_green, fleet, 0);
}

static void
begin_blue_green(Variant variant)
{
	after(12 * MINUTE, blue_green, processes(variant, &sqla_fifo, 1, steady, 200), 0);
}

/* It hangs, and some time later another one is up in its place. */
static void
come_up(void *what, int64 arg)
{
	Fleet	   *fleet = what;

	fleet_replace(fleet, 0);
	fleet->stopped = false;
}

static void
vanish(void *what, int64 arg)
{
	Fleet	   *fleet = what;

	pool_vanish(fleet->pools[0]);
	fleet->pools[0] = NULL;
	fleet->stopped = true;
	after((uint64) between(20 * SECOND, 2 * MINUTE), come_up, fleet, 0);
	after((uint64) between(20 * MINUTE, 30 * MINUTE), vanish, fleet, 0);
}

static void
begin_vanishing(Variant variant)
{
	Fleet	   *fleet = fleet_new(&hikari_fixed, service_new(), hikari_fixed.name, 1);

	fleet_load(fleet, steady, 200, &web);
	after(15 * MINUTE, vanish, fleet, 0);
}

/* No traffic for a while; another one takes over, and the old one is ended when that goes well. */
static void
maintain(void *what, int64 arg)
{
	Fleet	   *fleet = what;

	after((uint64) between(3 * MINUTE, 4.5 * MINUTE), roll_kill, fleet->pools[0], 0);
	fleet->pools[0] = NULL;
	fleet->stopped = true;
	after((uint64) between(20 * SECOND, 2 * MINUTE), come_up, fleet, 0);
	after((uint64) between(20 * MINUTE, 30 * MINUTE), maintain, fleet, 0);
}

static void
begin_maintenance(Variant variant)
{
	after(12 * MINUTE, maintain, processes(variant, &hikari_fixed, 1, steady, 200), 0);
}

/* Two on one host: while one has nothing to do the other is there for it. */
static void
take_over(void *what, int64 arg)
{
	Fleet	   *fleet = what;
	Pool	   *other = fleet->pools[0];

	fleet->pools[0] = fleet->pools[1];
	fleet->pools[1] = other;
	if (fleet->pools[0] == NULL)
		fleet_replace(fleet, 0);
	fleet->stopped = false;
}

static void
take_turns(void *what, int64 arg)
{
	Fleet	   *fleet = what;

	fleet->stopped = true;
	after((uint64) between(20 * SECOND, 2 * MINUTE), take_over, fleet, 0);
	after((uint64) between(15 * MINUTE, 25 * MINUTE), take_turns, fleet, 0);
}

static void
begin_turns(Variant variant)
{
	Fleet	   *fleet = processes(variant, &hikari_fixed, 1, steady, 200);

	fleet->service->processes = 2;
	after(15 * MINUTE, take_turns, fleet, 0);
}

static void
scale_up(void *what, int64 arg)
{
	Fleet	   *fleet = what;

	if (fleet->n < 6)
		fleet_add(fleet);
	after((uint64) between(8 * MINUTE, 14 * MINUTE), scale_up, fleet, 0);
}

static void
begin_scale_up(Variant variant)
{
	after(8 * MINUTE, scale_up, processes(variant, &hikari_fixed, 2, steady, 80), 0);
}

static void
begin_scale_up_quiet(Variant variant)
{
	after(8 * MINUTE, scale_up, processes(variant, &uwsgi, 2, bursts, 120), 0);
}

static void
begin_cold_standby(Variant variant)
{
	processes(variant, &hikari_fixed, 1, late, 80);
}

static void
storm(void *what, int64 arg)
{
	deploy_all(what, 0);
}

static void
begin_storm(Variant variant)
{
	after(30 * MINUTE, storm, processes(variant, &psycopg_pool, 8, steps, 300), 0);
}

static void
jump_clock(void *what, int64 arg)
{
	static const int64 by_s[] = {3600, -3600, 7, -7, 86400, -90000, 1, -1};

	world.clock_us += by_s[arg % lengthof(by_s)] * (int64) SECOND;
	after((uint64) between(3 * MINUTE, 12 * MINUTE), jump_clock, NULL, arg + 1);
}

static void
begin_clock(Variant variant)
{
	processes(variant, &uwsgi, 2, bursts, 100);
	jump_clock(NULL, below(8));
}

static void
go_blind(void *what, int64 arg)
{
	world.blind_until_us = world.now_us + (uint64) between(SECOND, 40 * SECOND);
	after((uint64) between(2 * MINUTE, 10 * MINUTE), go_blind, NULL, 0);
}

static void
begin_blind(Variant variant)
{
	processes(variant, &hikari_min, 2, bursts, 200);
	go_blind(NULL, 0);
}

/* The first observation is at a server that has been busy for half an hour. */
static void
begin_late_watch(Variant variant)
{
	Fleet	   *fleet = processes(variant, &sqla_lifo, 3, bursts, 250);

	fleet_uneven(fleet, 0.5);
	begin_gunicorn_quiet(HEALTHY);
	world.blind_until_us = world.now_us + 30 * MINUTE;
}

const Workload process_workloads[] = {
	{"gunicorn", begin_gunicorn, 2, false, "16 workers, the first do most of the work, max_requests"},
	{"gunicorn, quiet", begin_gunicorn_quiet, 2, false, "24 workers that connect when their first request comes, 3 a minute"},
	{"gunicorn, many quiet", begin_gunicorn_many, 2, false, "64 of them, 6 requests a minute",
	"sixteen first requests may well reach sixteen workers of 64"},
	{"django", begin_django, 2, false, "12 uneven workers, CONN_MAX_AGE 600"},
	{"uwsgi", begin_uwsgi, 2, false, "6 uneven workers with 5 + 10 each"},
	{"puma", begin_puma, 3, false, "4 processes with 5 threads, through a night"},
	{"apache", begin_apache, 2, false, "40 persistent connections, the first do most of the work"},
	{"php", begin_php, 1.5, false, "a connection a request"},
	{"lambda", begin_lambda, 2, false, "frozen between bursts, shut down some time later",
	"what was frozen for long was used again, so the service is given as long"},
	{"deploy", begin_deploy, 2, false, "all at once, every 20 minutes"},
	{"rolling restart", begin_rolling, 2, false, "drained for a minute, 10 connections each"},
	{"rolling restart, fifo", begin_rolling_fifo, 2, false, "drained for a minute"},
	{"blue-green", begin_blue_green, 2, false, "the old one stays for 30 minutes, without traffic"},
	{"vanishing", begin_vanishing, 2, true, "its host hangs and comes up again, every half an hour"},
	{"maintenance", begin_maintenance, 2, false, "without traffic for a minute, then a new one, and the old one ends"},
	{"turns", begin_turns, 2, false, "two on one host take turns, a minute without traffic between them",
	"it was never seen that the one in reserve comes back, until it does"},
	{"scale-up", begin_scale_up, 1.5, false, "one instance more every 10 minutes",
	"the reserve of a new instance is opened and forgotten, beside what is"},
	{"scale-up, bursts", begin_scale_up_quiet, 1.5, false, "one instance more every 10 minutes, little traffic"},
	{"cold standby", begin_cold_standby, 2, false, "10 connections that are not used for 50 minutes",
	"what was cold for long was used again, so the service is given as long"},
	{"failover", begin_storm, 2, false, "8 processes connect again at once"},
	{"clock jumps", begin_clock, 2, false, "the server's clock is set, forth and back"},
	{"late watch", begin_late_watch, 2, false, "the first observation is after 30 minutes",
	"what was before the first observation is no evidence"},
	{"blind", begin_blind, 2, false, "the watcher observes nothing for up to 40 s",
	"what was opened before a gap is no evidence, and there is one every few minutes"},
	{NULL}
};

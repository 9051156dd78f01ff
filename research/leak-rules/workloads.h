/*
 * workloads.h
 *		What runs against the server, with leaks and without.
 */
#pragma once

#include "pools.h"

typedef enum Variant
{
	HEALTHY,
	HELD,						/* checked out and never given back, in every way */
	GROWTH_FAST,				/* opened and forgotten: several a second ... */
	GROWTH_MEDIUM,				/* ... one in 5 s ... */
	GROWTH_MINUTE,				/* ... one a minute ... */
	GROWTH_SLOW,				/* ... one in 10 minutes ... */
	GROWTH_WORKING,				/* ... after some seconds of statements, one in 10 s */
	TAGGED,						/* as those that are held, by pools that say what has a connection */
	LOST,						/* as those that are held, in autocommit, one in 3 thresholds */
} Variant;

#define VARIANTS (LOST + 1)
#define GROWTHS (GROWTH_WORKING - GROWTH_FAST + 1)

extern const char *const variant_names[VARIANTS];

typedef struct Workload
{
	const char *name;
	void		(*begin) (Variant variant);
	double		hours;
	bool		nothing_held;	/* no pool that connections are taken from */
	const char *what;			/* and why it is healthy */
	const char *hard;			/* why more is asked here than the rules can do; NULL: it is not */
} Workload;

extern const Workload *const workload_sets[];

/* For workloads. */
extern double steady(uint64 at_us);
extern double night(uint64 at_us);
extern double bursts(uint64 at_us);
extern double steps(uint64 at_us);
extern double rarely(uint64 at_us);
extern double late(uint64 at_us);

extern const Shape web;
extern void leaks(Variant variant, Service *service);

extern const Policy sqla_fifo, sqla_lifo, hikari_fixed, hikari_alive, hikari_min, psycopg_pool,
			pgbouncer, rails, persistent, django, uwsgi, go_sql, node_pg, c3p0,
			npgsql, asyncpg, per_request;

extern const Workload pool_workloads[];
extern const Workload process_workloads[];
extern const Workload other_workloads[];

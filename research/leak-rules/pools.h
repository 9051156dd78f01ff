/*
 * pools.h
 *		Pools as applications have them, and the applications.
 */
#pragma once

#include "world.h"

#define POOL_MAX	64
#define FLEET_MAX	64

/* Which of its idle connections a pool lends. */
typedef enum Order
{
	NEWEST_BACK,				/* LIFO: what came back last */
	OLDEST_BACK,				/* FIFO, or round robin */
	FIRST_IN_LIST,				/* HikariCP: the thread's own one, or the first in the list */
} Order;

typedef struct Policy
{
	const char *name;
	Order		order;
	int			least;			/* kept idle, or open, see least_open */
	bool		least_open;
	int			keep;			/* no more than that stay idle when they come back */
	int			most;
	int			step;			/* opens so many when it lacks one */
	bool		own;			/* a request that lacks a connection opens one itself */
	bool		one_by_one;		/* opens the next when the one before is there */
	double		lifetime_s;		/* 0: for ever */
	double		jitter;			/* of the lifetime, downwards */
	bool		lazily;			/* too old is noticed at the next checkout only */
	double		idle_s;			/* 0: may lie idle for ever */
	bool		shrinks_slowly; /* one connection each time */
	double		house_s;		/* how often it looks after idle ones */
	double		keepalive_s;	/* 0: nothing is sent to idle ones */
	int			setup;			/* statements that prepare a connection */
	bool		ping;			/* a statement at each checkout */
	bool		own_thread;		/* a leaked one leaves with its thread */
} Policy;

/* What is done with a connection. */
typedef struct Shape
{
	int			least, most;	/* statements */
	double		statement_ms, gap_ms;	/* mean */
	double		transactions;	/* share of those that are in one */
	double		heavy;			/* share of those that take 50 times as long */
} Shape;

typedef struct Job
{
	struct Pool *pool;
	const Shape *shape;
	Ref			ref;
	int			left;
	bool		in_transaction;
	bool		heavy;
	LeakRule	leak;
	bool		abort;
	uint64		serial;			/* a job that has this memory */
	struct Job *next;			/* in the line */
} Job;

typedef struct Pool
{
	const Policy *policy;
	Service    *service;
	const char *what;
	bool		dead;
	bool		leaky;			/* leaks happen here */
	int			total;
	int			opening;
	int			busy;
	int			served;
	int			quota;			/* a process that ends after so many; 0 = never */
	int			nidle;
	Session    *idle[POOL_MAX]; /* what came back first is first */
	Job		   *first, *last;	/* the line */
	int			waiting;
} Pool;

typedef double (*Rate) (uint64 at_us);	/* per second */

/* Processes with a pool each, between which requests are shared out. */
typedef struct Fleet
{
	const Policy *policy;
	Service    *service;
	const char *what;
	int			n;
	Pool	   *pools[FLEET_MAX];
	double		weights[FLEET_MAX];
	double		weight;			/* their sum */
	bool		first_free;		/* the first that has nothing to do, mostly */
	int			quota;			/* max_requests; 0 = none */
	Rate		rate;
	double		scale;
	const Shape *shape;
	bool		stopped;
} Fleet;

/* How many leaks of which kind are to happen at the next occasion. */
typedef struct Injection
{
	int			abandoned;
	int			in_transaction;
	int			aborted;
	int			dead;
} Injection;

extern Injection injection;

extern Pool *pool_new(const Policy *policy, Service *service, const char *what);
extern void pool_kill(Pool *pool);
extern void pool_vanish(Pool *pool);
extern void pool_request(Pool *pool, const Shape *shape);
extern void pool_fill(Pool *pool);

extern Fleet *fleet_new(const Policy *policy, Service *service, const char *what, int n);
extern void fleet_add(Fleet *fleet);
extern void fleet_replace(Fleet *fleet, int i);
extern void fleet_quota(Fleet *fleet, int quota);
extern void fleet_uneven(Fleet *fleet, double factor);
extern void fleet_load(Fleet *fleet, Rate rate, double scale, const Shape *shape);

/* Between the pools and the jobs. */
extern void jobs_begin(void);
extern Job *job_new(Pool *pool, const Shape *shape);
extern void job_start(Job *job, Session *session);
extern void job_end(Job *job);
extern void pool_give_back(Pool *pool, Session *session);

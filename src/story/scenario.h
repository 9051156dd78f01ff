/*
 * scenario.h
 *		What a scenario is: what it needs, the options that it has, and its story.
 */
#pragma once

#include "shmem/request.h"

struct Run;

/* What every scenario over an application-style pool has, beside its size. */
#define POOL_OPTIONS \
	{OPTION_max_waiting}, {OPTION_idle_order, {IDLE_LIFO}}, {OPTION_max_lifetime_ms}, \
	{OPTION_connect_timeout_ms, {5000, 5000, 5000}}, {OPTION_workload}

/* Scenario.parties of one that is made of others. */
#define PARTIES_NONE	(-1)

/* One scenario; each is defined in a file of its name. */
typedef struct Scenario
{
	const char *name;
	const char *summary;
	const char *effect;			/* what it does to the server */
	TargetKind	default_target;
	int			targets;		/* all that it can aim at: ON_SERVER | ON_ROLE ... */
	int			parties;		/* roles and pools of its own, 0 counts as 1; or PARTIES_NONE */
	int			limited;		/* the number of the party that option role_limit limits */
	int			pools;			/* of its pools that are used up; 0: all of them */
	int			embedded;		/* services with an application-style pool, whatever the
								 * target: a set of 1 << number */
	bool		heals;			/* it needs a server that ends sessions when it is asked to, or
								 * else waits until its target is restarted */
	bool		logins;			/* of PgBouncer it uses up the clients, not the pool behind them */
	bool		crowd;			/* clients retry until as many as fit are connected: see load/crowd.h */
	int			spare_sessions; /* that it opens beside those of its pools ... */
	bool		grows;			/* ... and as many more as are a growth here */
	bool		patient;		/* it mostly waits; or else it measures time */
	bool		asks_monitor;	/* where the target ends sessions it proves nothing without the monitor */
	const OptionDefault *options;	/* its own ones, ended by OPTION_END */
	bool		bare;			/* and it has no others */

	/* Completes the options by what else the request says; NULL: there is nothing. */
	void		(*complete) (const RunRequest *request, Options *options);

	/* ERROR if these options contradict each other; NULL: they cannot. */
	void		(*require) (const Options *options);
	void		(*play) (struct Run *run);
} Scenario;

/* Or else it is made of runs of others, and holds nothing itself. */
static inline bool
scenario_has_pools(const Scenario *scenario)
{
	return scenario->parties != PARTIES_NONE;
}

/* How many roles and pools a run of it has. */
static inline int
scenario_parties(const Scenario *scenario)
{
	return scenario_has_pools(scenario) ? Max(scenario->parties, 1) : 0;
}

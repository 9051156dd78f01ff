/*
 * target_type.h
 *		What a kind of target is and can do.  Nothing else compares kinds: it asks
 *		run->target.
 *
 * Each kind has its row in a file of its own, target/<name>.c.
 */
#pragma once

#include "nodes/pg_list.h"

#include "load/target/probe.h"
#include "observe/slots/census.h"
#include "shmem/shared.h"
#include "story/run.h"
#include "story/scenario.h"

struct Endpoint;
struct ForeignOption;

typedef struct TargetType
{
	const char *name;			/* of the target, or of a kind of foreign servers */

	/* How it is aimed at. */
	bool		drives;			/* not at all: it generates load for runs */
	bool		driven;			/* drivers may generate the load */
	bool		foreign;		/* a foreign server, by its own name; nothing is made there */
	bool		each_default;	/* each of several scenarios aims at its default target */
	bool		exclusive;		/* a run uses up what belongs to all clients of its server,
								 * so it is the only one there */
	bool		one_party;		/* a server is one service: another party needs another server */

	/* What this server has of it. */
	bool		own_roles;		/* parties log in here, as roles of the run's own ... */
	bool		role_limit;		/* ... which option role_limit can limit */
	bool		ledger;			/* refusals are in the ledger */
	bool		activity;		/* sessions are in pg_stat_activity */
	bool		terminates;		/* the server can be asked to end sessions, and the healer
								 * reaches them */
	bool		superuser;		/* a superuser is known, and may try to log in */
	bool		monitored;		/* the monitor watches it ... */
	PoolKind	monitored_as;	/* ... as that */

	/* What it is for its clients. */
	bool		in_process;		/* a pool in the runner itself, not across a network */
	bool		one_backend;	/* a connection is known to keep its backend */
	bool		counts_itself;	/* a pooler: what it says of its pool is PoolState.said_... */
	bool		may_vanish;		/* it may end all sessions of a run that goes on */
	bool		shows_settings; /* on Endpoint.console */

	/* What options mean there. */
	bool		knows_size;		/* what an OptionDefault that inherits does not say, it says */
	bool		asked_first;	/* what options are worth shows only when it is asked */
	const char *limiting;		/* option to lower for fewer connections; NULL: there is none */

	/*
	 * What a driver has to know of a pool that its clients share: returns its mode, and in
	 * "pool_size" its size; "" if they share none.  NULL: they never do.
	 */
	const char *(*shared) (const Run *run, const RunParty *party, int *pool_size);

	/* What its probe asks to have it end all sessions of the run; NULL: it cannot be asked to. */
	const Question *recall;

	/*
	 * Of a foreign server: the options that it and its user mappings have, ended by
	 * a name of NULL; and how to read them.  read() fills in what "endpoint" has for
	 * that kind beside its login, with strings in the current memory context; the
	 * options have been validated.  Called in a transaction of the runner, or of the
	 * caller's backend.  NULL: there is nothing.
	 */
	const struct ForeignOption *options;
	const char *default_port;	/* NULL: clients log in by another protocol than PostgreSQL's */
	bool		mapping_optional;	/* open to clients without a user mapping or a password */
	void		(*read) (struct Endpoint *endpoint, List *server, List *mapping);

	/*
	 * In the caller's backend, or in a parent's runner as the caller, before
	 * anything is touched; each may read the catalogs and shared memory.  NULL:
	 * there is nothing to require, no connection of this server is needed.
	 *
	 * require_alone() ends in an ERROR with a hint if other sessions there would be
	 * refused.  needed() returns how many connections to this server the run will
	 * hold, "others" beside those of its pools included, and says in "asked" by which
	 * options.
	 */
	void		(*require_alone) (const RunRequest *request, const Options *options);
	int			(*needed) (const Scenario *scenario, const Options *options, const Census *census,
						   int others, char **asked);

	/*
	 * In the runner, outside a transaction.  They may turn the loop and wait, and
	 * end the run as invalid, with the reason, if the target is not to be had.
	 *
	 * open() finds the login of the n-th party, tries it, and completes the options
	 * by what is found; NULL: a role of the run's own is made.  pool() returns the
	 * pool of a party that is open, if it has no queue with that type; it opens no
	 * connection yet.  open_service() takes the place of both where clients open no
	 * sessions: the run has no parties then.
	 */
	void		(*open) (Run *run, int n);
	const PoolType *pool_type;
	Pool	   *(*pool) (Run *run, const RunParty *party);
	void		(*open_service) (Run *run);
} TargetType;

/* Does a run of the scenario there prove nothing without the monitor's samples? */
static inline bool
target_needs_monitor(const TargetType *target, const Scenario *scenario)
{
	return scenario->asks_monitor && target->terminates;
}

/* Does a second party of the scenario need another foreign server of that kind? */
static inline bool
target_needs_second(const TargetType *target, const Scenario *scenario)
{
	return target->one_party && scenario->parties > 1 && (scenario->embedded & (1 << 1)) == 0;
}

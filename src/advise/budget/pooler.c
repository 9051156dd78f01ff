/*
 * pooler.c
 *		The limits of poolers, and what they make of their clients for the server.
 *
 * Each (database, user) pair is a pool.  It opens a connection for each of its clients
 * up to pool_size and the reserve; in pool_mode session a client beyond waits until
 * query_wait_timeout ends its wait, in the other modes clients share.  All of that is
 * per process.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"

#include "advise/budget/pooler.h"
#include "base/text.h"
#include "shmem/names.h"
#include "sql/statement.h"

/* ---------- As it is declared ---------- */

static const PoolerScope *
scope_find(const Pooler *pooler, PoolerSection section, const char *name)
{
	ListCell   *cell;

	foreach(cell, pooler->scopes)
	{
		const PoolerScope *scope = lfirst(cell);

		if (scope->section == section && strcmp(scope->name, name) == 0)
			return scope;
	}
	return NULL;
}

/* Returns the value that holds for a database and a user, either of which may be NULL. */
double
pooler_value(const Pooler *pooler, PoolerSetting setting, const PoolerScope *database, const PoolerScope *user)
{
	const PoolerScope *scopes[] = {user, database, scope_find(pooler, SECTION_PGBOUNCER, "")};

	for (int i = 0; i < lengthof(scopes); i++)
		if (scopes[i] != NULL && scopes[i]->has[setting])
			return scopes[i]->values[setting];
	return pooler_setting_fallback(setting);
}

double
pool_value(const PoolerPool *pool, PoolerSetting setting)
{
	return pooler_value(pool->pooler, setting, pool->database, pool->user);
}

static Pooler *
pooler_find(const Budget *budget, const char *name)
{
	ListCell   *cell;

	foreach(cell, budget->poolers)
		if (strcmp(((Pooler *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

/* Puts a row of the table into its scope; what nothing here knows is a contradiction. */
static void
setting_add(Budget *budget, const Pooler *pooler, PoolerScope *scope, const char *name, const char *text)
{
	int			setting = pooler_setting_find(scope->section, name);
	const char *wanted;

	if (pooler_setting_is_text(scope->section, name))
	{
		*(strcmp(name, SETTING_DBNAME) == 0 ? &scope->dbname : &scope->user) = pstrdup(text);
		return;
	}
	if (setting < 0)
	{
		contradiction(budget, "pooler \"%s\": section %s has no setting \"%s\" that limits connections",
					  pooler->name, pooler_section_words.names[scope->section], text_printable(name));
		return;
	}
	wanted = pooler_setting_read(setting, text, &scope->values[setting]);
	if (wanted != NULL)
		contradiction(budget, "pooler \"%s\": %s is \"%s\", and must be %s", pooler->name, name, text_printable(text), wanted);
	scope->has[setting] = wanted == NULL;
}

/* Rows of a scope follow each other. */
static void
rows_read(Budget *budget)
{
	Pooler	   *pooler = NULL;
	PoolerScope *scope = NULL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		const char *name = statement_text(row, 1);
		PoolerSection section = words_find(&pooler_section_words, statement_text(row, 2));
		const char *scope_name = statement_text(row, 3);

		if (pooler == NULL || strcmp(pooler->name, name) != 0)
		{
			pooler = palloc0(sizeof(Pooler));
			pooler->name = pstrdup(name);
			budget->poolers = lappend(budget->poolers, pooler);
			scope = NULL;
		}
		if (scope == NULL || scope->section != section || strcmp(scope->name, scope_name) != 0)
		{
			scope = palloc0(sizeof(PoolerScope));
			scope->section = section;
			scope->name = pstrdup(scope_name);
			scope->dbname = scope->user = "";
			pooler->scopes = lappend(pooler->scopes, scope);
		}
		setting_add(budget, pooler, scope, statement_text(row, 4), statement_text(row, 5));
	}
}

/* Returns the pool of that database and role, a new one if need be. */
static PoolerPool *
pool_get(Budget *budget, const Pooler *pooler, const PoolerScope *database, const char *name, const char *role)
{
	PoolerPool *pool;
	ListCell   *cell;

	foreach(cell, budget->pools)
	{
		pool = lfirst(cell);
		if (pool->pooler == pooler && strcmp(pool->name, name) == 0 && strcmp(pool->role, role) == 0)
			return pool;
	}
	pool = palloc0(sizeof(PoolerPool));
	pool->pooler = pooler;
	pool->database = database;
	pool->name = name;
	pool->dbname = database->dbname[0] != '\0' ? database->dbname : name;
	pool->role = role;
	pool->user = scope_find(pooler, SECTION_USERS, role);
	budget->pools = lappend(budget->pools, pool);
	return pool;
}

/* Finds the pool of a service; its sessions in the server are of the role of that. */
static void
service_place(Budget *budget, DeclaredService *service)
{
	const Pooler *pooler = pooler_find(budget, service->via);
	const PoolerScope *database = pooler == NULL ? NULL : scope_find(pooler, SECTION_DATABASES, service->database);
	PoolerPool *pool;

	if (pooler == NULL)
	{
		contradiction(budget, "service \"%s\": pooler \"%s\" is not declared", service->name, text_printable(service->via));
		return;
	}
	if (database == NULL)
		database = scope_find(pooler, SECTION_DATABASES, "*");
	if (database == NULL || service->database[0] == '\0')
	{
		contradiction(budget, "service \"%s\": pooler \"%s\" has no database \"%s\"", service->name, text_printable(service->via),
					  text_printable(service->database));
		return;
	}
	pool = pool_get(budget, pooler, database, service->database, database->user[0] != '\0' ? database->user : service->role);
	pool->services = lappend(pool->services, service);
	for (int s = 0; s < SITUATIONS; s++)
		pool->clients[s] += service->replicas[s] * service->per_replica;
	names_fill(service->names, CAUSE_NONE, pool->role, NULL, service->application_name);
}

static void
pool_check(Budget *budget, const PoolerPool *pool)
{
	if (pool->role[0] != '\0' && !facts_of_role(pool->role).connects)
		contradiction(budget, "pooler \"%s\": there is no role \"%s\" with LOGIN", text_printable(pool->pooler->name), text_printable(pool->role));
	if (!facts_of_database(pool->dbname).connects)
		contradiction(budget, "pooler \"%s\": there is no database \"%s\" that allows connections", text_printable(pool->pooler->name), text_printable(pool->dbname));
}

/*
 * Reads the poolers, and finds the pools of the services that go by them.  SPI is
 * connected, and the user the owner of the extension.
 */
void
poolers_read(Budget *budget)
{
	ListCell   *cell;

	statement_run(&budget->extension,
				  "SELECT pooler, section, name, setting, value FROM @.pool_exhaust_declared_poolers "
				  "ORDER BY pooler COLLATE \"C\", section COLLATE \"C\", name COLLATE \"C\", setting COLLATE \"C\"",
				  SPI_OK_SELECT, 0, NULL, NULL);
	MemoryContextSwitchTo(budget->context);
	rows_read(budget);
	foreach(cell, budget->services)
		if (service_is_pooled(lfirst(cell)))
			service_place(budget, lfirst(cell));
	foreach(cell, budget->pools)
		pool_check(budget, lfirst(cell));
}

/* ---------- Its limits ---------- */

static double
processes_of(const Pooler *pooler)
{
	return pooler_value(pooler, SETTING_PROCESSES, NULL, NULL);
}

/*
 * Adds all services of the pool to a limit of the pooler; "each" is that of a process,
 * 0 is none.  "name" is what it counts, and the section and setting are what sets it.
 */
static void
clients_add(Budget *budget, const PoolerPool *pool, const char *name, Cause cause, double each, PoolerSection section, PoolerSetting setting)
{
	double		processes = processes_of(pool->pooler);
	bool		found;
	BudgetLimit *limit;
	ListCell   *cell;

	if (each <= 0)
		return;
	limit = limit_get(budget, text_printable(psprintf("pooler %s, %s", pool->pooler->name, name)), &found);
	if (!found)
	{
		const char *setting_name = pooler_setting_name(section, setting);

		limit_set(limit, cause, each * processes, 0);
		limit->parts = processes;
		limit->raise = psprintf("%s =", setting_name);
		limit->origin = processes > 1
			? psprintf("%.0f clients: %s %.0f of each of %.0f processes, if clients are spread evenly", limit->capacity, setting_name, each, processes)
			: psprintf("%.0f clients: %s", limit->capacity, setting_name);
	}
	foreach(cell, pool->services)
		limit_add(limit, share_of_service(lfirst(cell)));
}

/* Returns how many connections a process opens for the pool at the most; the reserve needs a timeout. */
static double
pool_most(const PoolerPool *pool)
{
	return pool_value(pool, SETTING_POOL_SIZE) + (pool_value(pool, SETTING_RESERVE_TIMEOUT) > 0 ? pool_value(pool, SETTING_RESERVE) : 0);
}

/* What waits in vain beyond the connections of a pool, in the mode in which clients keep theirs. */
static void
add_session_limits(Budget *budget, const PoolerPool *pool)
{
	if (pool_value(pool, SETTING_POOL_MODE) != MODE_SESSION)
		return;
	clients_add(budget, pool, psprintf("pool %s/%s", pool->name, pool->role), CAUSE_POOLER_QUEUE_TIMEOUT,
				pool_most(pool), SECTION_DATABASES, SETTING_POOL_SIZE);
	clients_add(budget, pool, psprintf("sessions of database %s", pool->name), CAUSE_POOLER_QUEUE_TIMEOUT,
				pool_value(pool, SETTING_DATABASE_CONNECTIONS), SECTION_DATABASES, SETTING_DATABASE_CONNECTIONS);
	clients_add(budget, pool, psprintf("sessions of user %s", pool->role), CAUSE_POOLER_QUEUE_TIMEOUT,
				pool_value(pool, SETTING_USER_CONNECTIONS), SECTION_USERS, SETTING_USER_CONNECTIONS);
}

static void
add_client_limits(Budget *budget, const PoolerPool *pool)
{
	clients_add(budget, pool, "clients", CAUSE_POOLER_CLIENTS, pool_value(pool, SETTING_CLIENTS), SECTION_PGBOUNCER, SETTING_CLIENTS);
	clients_add(budget, pool, psprintf("clients of database %s", pool->name), CAUSE_POOLER_DATABASE_LIMIT,
				pool_value(pool, SETTING_DATABASE_CLIENTS), SECTION_DATABASES, SETTING_DATABASE_CLIENTS);
	clients_add(budget, pool, psprintf("clients of user %s", pool->role), CAUSE_POOLER_USER_LIMIT,
				pool_value(pool, SETTING_USER_CLIENTS), SECTION_USERS, SETTING_USER_CLIENTS);
	add_session_limits(budget, pool);
}

/* ---------- What it asks of the server ---------- */

/* Takes off what a limit of each process, 0 is none, leaves of it. */
static double
capped(double connections, double each, double processes)
{
	return each > 0 ? Min(connections, each * processes) : connections;
}

/* Returns the connections that the pool opens at the most, palloc'd. */
static Share *
share_of_pool(const PoolerPool *pool)
{
	double		processes = processes_of(pool->pooler);
	double		most = pool_most(pool) * processes;
	Share	   *share = palloc(sizeof(Share));

	*share = (Share) {text_printable(psprintf("pool %s/%s of pooler %s", pool->name, pool->role, pool->pooler->name)), "connection", 1};
	for (int s = 0; s < SITUATIONS; s++)
	{
		double		open = Min(pool->clients[s], most);

		if (pool->clients[s] > 0)
			open = Max(open, pool_value(pool, SETTING_MIN_POOL_SIZE) * processes);
		open = capped(open, pool_value(pool, SETTING_DATABASE_CONNECTIONS), processes);
		share->demand[s] = capped(open, pool_value(pool, SETTING_USER_CONNECTIONS), processes);
	}
	return share;
}

/* Of all pools to a database of the pooler, or as a user of it, as the limit of that allows. */
typedef struct PoolSum
{
	const Pooler *pooler;
	const char *name;
	Share	   *share;
	double		each;			/* that limit, of each process; 0: none */
	const PoolerPool *pool;		/* one of them */
} PoolSum;

static List *
sums_add(List *sums, const PoolerPool *pool, const char *what, const char *name, PoolerSetting setting, const Share *share)
{
	PoolSum    *sum;
	ListCell   *cell;

	foreach(cell, sums)
	{
		sum = lfirst(cell);
		if (sum->pooler != pool->pooler || strcmp(sum->name, name) != 0)
			continue;
		for (int s = 0; s < SITUATIONS; s++)
			sum->share->demand[s] += share->demand[s];
		return sums;
	}
	sum = palloc(sizeof(PoolSum));
	*sum = (PoolSum) {pool->pooler, name, palloc(sizeof(Share)), pool_value(pool, setting), pool};
	*sum->share = *share;
	sum->share->name = text_printable(psprintf("%s %s of pooler %s", what, name, pool->pooler->name));
	return lappend(sums, sum);
}

static void
sum_cap(const PoolSum *sum)
{
	for (int s = 0; s < SITUATIONS; s++)
		sum->share->demand[s] = capped(sum->share->demand[s], sum->each, processes_of(sum->pooler));
}

/*
 * Adds what the poolers ask for.  The pools of a user in several databases have a limit
 * of their own, which does not show in the sum of the server: that is an upper bound.
 */
void
poolers_add_up(Budget *budget)
{
	List	   *databases = NIL;
	List	   *users = NIL;
	ListCell   *cell;

	foreach(cell, budget->pools)
	{
		const PoolerPool *pool = lfirst(cell);
		const Share *share = share_of_pool(pool);

		add_client_limits(budget, pool);
		databases = sums_add(databases, pool, "database", pool->name, SETTING_DATABASE_CONNECTIONS, share);
		users = sums_add(users, pool, "user", pool->role, SETTING_USER_CONNECTIONS, share);
	}
	foreach(cell, databases)
	{
		const PoolSum *sum = lfirst(cell);

		sum_cap(sum);
		limits_add_server(budget, sum->share);
		limits_add_database(budget, sum->pool->dbname, sum->share);
	}
	foreach(cell, users)
	{
		const PoolSum *sum = lfirst(cell);

		sum_cap(sum);
		limits_add_role(budget, sum->name, sum->share);
	}
}

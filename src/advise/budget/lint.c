/*
 * lint.c
 *		What is odd about how a pooler is configured.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "advise/budget/pooler.h"
#include "base/text.h"
#include "sql/statement.h"

/* After so many seconds the pools of applications give up, as most of them are delivered. */
#define CLIENT_TIMEOUT_S	30

/* Adds a check; it fails, or warns, if the comparison does not hold. */
static void
lint_add(Budget *budget, const Pooler *pooler, const char *what, Comparison comparison, const char *unit, bool fails, const char *meaning)
{
	Lint	   *lint = palloc(sizeof(Lint));

	*lint = (Lint) {"poolers", text_printable(psprintf("pooler %s, %s", pooler->name, what)), comparison, unit, fails, meaning};
	budget->lints = lappend(budget->lints, lint);
}

static void
lint_pooler(Budget *budget, const Pooler *pooler)
{
	double		wait_s = pooler_value(pooler, SETTING_QUERY_WAIT, NULL, NULL);
	double		reserve = pooler_value(pooler, SETTING_RESERVE, NULL, NULL);

	if (wait_s > 0)
		lint_add(budget, pooler, "query_wait_timeout", (Comparison) {OPERATOR_AT_MOST, CLIENT_TIMEOUT_S, 0, wait_s}, "s", false,
				 "the pools of most clients give up before the pooler does, and leave their requests in its queue");
	else
		lint_add(budget, pooler, "query_wait_timeout", (Comparison) {OPERATOR_AT_LEAST, 1, 0, 0}, "s", false,
				 "a client waits for ever where all connections are taken");
	if (reserve > 0)
		lint_add(budget, pooler, "reserve_pool_timeout", (Comparison) {OPERATOR_AT_LEAST, 1, 0, pooler_value(pooler, SETTING_RESERVE_TIMEOUT, NULL, NULL)},
				 "s", false, "without it the reserve is never used, although reserve_pool_size is set");
}

static void
lint_database(Budget *budget, const Pooler *pooler, const PoolerScope *database)
{
	double		size = pooler_value(pooler, SETTING_POOL_SIZE, database, NULL);
	double		min_size = pooler_value(pooler, SETTING_MIN_POOL_SIZE, database, NULL);
	double		most = pooler_value(pooler, SETTING_DATABASE_CONNECTIONS, database, NULL);

	if (most > 0)
		lint_add(budget, pooler, psprintf("pool_size of %s", database->name), (Comparison) {OPERATOR_AT_MOST, most, 0, size}, "connections", false,
				 "it is never reached: max_db_connections is smaller");
	if (min_size > 0)
		lint_add(budget, pooler, psprintf("min_pool_size of %s", database->name),
				 (Comparison) {OPERATOR_AT_MOST, most > 0 ? Min(most, size) : size, 0, min_size}, "connections", true,
				 "it is more than the pool may have, by pool_size or max_db_connections: make it smaller");
}

/* How many sessions of the role, now, do what only a connection of one's own allows. */
static double
sessions_of_features(Budget *budget, const char *role)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(role)};

	statement_run(NULL, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE usename = $1 AND "
				  "(query ~* '^\\s*(listen|unlisten|prepare|set\\s+session)\\M' OR state = 'idle' AND "
				  "EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory'))",
				  SPI_OK_SELECT, lengthof(types), types, values);
	MemoryContextSwitchTo(budget->context);
	return strtod(statement_text(0, 1), NULL);
}

static void
lint_pool(Budget *budget, const PoolerPool *pool)
{
	if (pool_value(pool, SETTING_POOL_MODE) == MODE_SESSION || pool->role[0] == '\0')
		return;
	lint_add(budget, pool->pooler, psprintf("session features of %s/%s", pool->name, pool->role),
			 (Comparison) {OPERATOR_EQUAL, 0, 0, sessions_of_features(budget, pool->role)}, "sessions", false,
			 "LISTEN, PREPARE, SET SESSION or advisory locks of sessions: the next client of the connection gets what this one left");
}

/* Adds the checks of all poolers.  SPI is connected, and the user the owner of the extension. */
void
poolers_lint(Budget *budget)
{
	ListCell   *cell;
	ListCell   *scope;

	foreach(cell, budget->poolers)
	{
		const Pooler *pooler = lfirst(cell);

		lint_pooler(budget, pooler);
		foreach(scope, pooler->scopes)
			if (((const PoolerScope *) lfirst(scope))->section == SECTION_DATABASES)
				lint_database(budget, pooler, lfirst(scope));
	}
	foreach(cell, budget->pools)
		lint_pool(budget, lfirst(cell));
}

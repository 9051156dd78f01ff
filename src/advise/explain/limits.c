/*
 * limits.c
 *		Explanations by limits: of roles, of databases, of walsenders.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "advise/explain/explain.h"
#include "base/text.h"

/* Does the session count against the limit?  A login that will be refused does not. */
static bool
counts_against(const SessionFacts *session, const PoolLimit *limit)
{
	if (session->service == NULL)
		return false;
	return (limit->kind == POOL_ROLE && limit->oid == session->slot.role) ||
		(limit->kind == POOL_DATABASE && limit->oid == session->slot.database);
}

/* Returns how many sessions the limit is for.  PostgreSQL lets superusers past that of a database, and counts them there. */
static int
sessions_against(const Facts *facts, const PoolLimit *limit)
{
	int			n = 0;

	foreach_session(facts, session)
		n += counts_against(session, limit) &&
			(limit->kind != POOL_DATABASE || !facts->source->exempt(session->slot.role));
	return n;
}

/* Returns 'role app' or 'database shop', palloc'd. */
static char *
limit_text(const PoolLimit *limit)
{
	return psprintf("%s %s", pool_kind_names[limit->kind], text_printable(limit->name));
}

/* ---------- A limit below what is in use ---------- */

static bool
is_below_use(const Facts *facts, const PoolLimit *limit)
{
	return (limit->kind == POOL_ROLE || limit->kind == POOL_DATABASE) && sessions_against(facts, limit) > limit->capacity;
}

/* Returns the limit that most sessions are beyond, NULL if none are. */
static const PoolLimit *
most_exceeded(const Facts *facts)
{
	const PoolLimit *most = NULL;
	int			beyond = 0;

	for (int i = 0; i < facts->npools; i++)
	{
		const PoolLimit *limit = &facts->pools[i].limit;

		if (facts->pools[i].in_use > limit->capacity && is_below_use(facts, limit) && sessions_against(facts, limit) - limit->capacity > beyond)
		{
			beyond = sessions_against(facts, limit) - limit->capacity;
			most = limit;
		}
	}
	return most;
}

static bool
judge_limit_below_use(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const PoolLimit *limit = most_exceeded(facts);
	int			n;

	if (limit == NULL)
		return false;
	n = sessions_against(facts, limit);
	finding->urgent = limit->capacity > 0;	/* one that is closed is so on purpose */
	finding->weight = n;
	finding->confidence = CONFIDENCE_SURE;
	finding->sentence = psprintf("%s has %d sessions, and its CONNECTION LIMIT is %d", limit_text(limit), n, limit->capacity);
	finding->evidence = limit->capacity > 0
		? "It was lowered while they were connected: they stay, and every new login is refused until enough have gone."
		: "It lets no session in any more: those that were connected stay until they end.";
	finding->next_step = psprintf("ALTER %s %s CONNECTION LIMIT %d;", limit->kind == POOL_ROLE ? "ROLE" : "DATABASE",
								  quote_identifier(limit->name), n);
	return true;
}

const Explanation explanation_limit_below_use = {
	.name = "limit below use",
	.recorded = true,
	.judge = judge_limit_below_use,
};

/* ---------- A limit that is reached ---------- */

/* Returns the pool of that kind that has least left of those that have little; NULL if none has. */
static const PoolRow *
pool_reached(const Facts *facts, PoolKind kind)
{
	const PoolRow *fullest = NULL;
	ListCell   *cell;

	foreach(cell, facts->pressed)
	{
		const PoolRow *pool = lfirst(cell);

		if (pool->limit.kind == kind &&
			(fullest == NULL || pool->health > fullest->health ||
			 (pool->health == fullest->health && pool->in_use > fullest->in_use)))
			fullest = pool;
	}
	return fullest;
}

static bool
counts_against_reached(const Explanation *self, const Facts *facts, const SessionFacts *session)
{
	const PoolRow *pool = pool_reached(facts, self->kind);

	return pool != NULL && counts_against(session, &pool->limit);
}

/* Returns what was refused for it, palloc'd: what is recorded of that is by cause, and not by pool. */
static char *
refused_text(const Facts *facts, const PoolRow *pool)
{
	return psprintf(INT64_FORMAT " refused for that %s", pool->refused, facts->recorded == NULL ? "so far" : "cause in the last minute");
}

/* Says of a pool that it is reached; "is" says what its limit is, the statement shows what is in it. */
static void
say_reached(const Facts *facts, Finding *finding, const PoolRow *pool, const char *name, const char *is, const char *statement)
{
	finding->urgent = true;
	finding->confidence = CONFIDENCE_SURE;
	finding->sentence = psprintf("%s: %d of %d connections in use, %s (%s)",
								 name, pool->in_use, pool->limit.capacity, refused_text(facts, pool), is);
	finding->evidence = pool->peak_in_use > 0 ? psprintf("At its peak %d were in use.", pool->peak_in_use) : NULL;
	finding->next_step = statement;
}

static bool
judge_connection_limit(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const PoolRow *pool = pool_reached(facts, self->kind);

	if (pool == NULL)
		return false;
	say_reached(facts, finding, pool, limit_text(&pool->limit), "its CONNECTION LIMIT",
				psprintf("SELECT service, state, count(*), max(idle_ms) AS idle_ms FROM pool_exhaust_backends WHERE %s = %s GROUP BY 1, 2 ORDER BY 3 DESC;",
						 self->column, quote_literal_cstr(pool->limit.name)));
	return true;
}

const Explanation explanation_role_limit = {
	.name = "role_limit",
	.recorded = true,
	.kind = POOL_ROLE,
	.column = "usename",
	.accounts_for = counts_against_reached,
	.judge = judge_connection_limit,
};

const Explanation explanation_database_limit = {
	.name = "database_limit",
	.recorded = true,
	.kind = POOL_DATABASE,
	.column = "datname",
	.accounts_for = counts_against_reached,
	.judge = judge_connection_limit,
};

static bool
judge_walsender_limit(const Explanation *self, const Facts *facts, const Crowd *crowd, Finding *finding)
{
	const PoolRow *pool = pool_reached(facts, POOL_WALSENDERS);

	if (pool == NULL)
		return false;
	say_reached(facts, finding, pool, "replication", "max_wal_senders",
				"SELECT pid, usename, application_name, client_addr, state, backend_start FROM pg_stat_replication ORDER BY backend_start;");
	finding->weight = pool->in_use;
	return true;
}

const Explanation explanation_walsender_limit = {
	.name = "walsender_limit",
	.recorded = true,
	.judge = judge_walsender_limit,
};

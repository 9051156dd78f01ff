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

static int
sessions_against(const Facts *facts, const PoolLimit *limit)
{
	int			n = 0;

	foreach_session(facts, session)
		n += counts_against(session, limit);
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

		if (is_below_use(facts, limit) && sessions_against(facts, limit) - limit->capacity > beyond)
		{
			beyond = sessions_against(facts, limit) - limit->capacity;
			most = limit;
		}
	}
	return most;
}

static bool
judge_limit_below_use(const Facts *facts, const Crowd *crowd, Finding *finding)
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
	.judge = judge_limit_below_use,
};

/* ---------- A limit that is reached ---------- */

/* Returns the pool of that kind that has least left of those that have little; NULL if none has. */
static const PoolRow *
pool_reached(const Facts *facts, PoolKind kind)
{
	const PoolRow *fullest = NULL;

	for (int i = 0; i < facts->npools; i++)
	{
		const PoolRow *pool = &facts->pools[i];

		if (pool->limit.kind == kind && pool_is_pressed(facts, pool) &&
			(fullest == NULL || pool->health > fullest->health ||
			 (pool->health == fullest->health && pool->in_use > fullest->in_use)))
			fullest = pool;
	}
	return fullest;
}

static bool
is_of_reached(const Facts *facts, const SessionFacts *session, PoolKind kind)
{
	const PoolRow *pool = pool_reached(facts, kind);

	return pool != NULL && counts_against(session, &pool->limit);
}

/* "is" says what the limit is; the statement is to have the sessions that count against it. */
static bool
judge_limit(const Facts *facts, Finding *finding, PoolKind kind, const char *is, const char *statement)
{
	const PoolRow *pool = pool_reached(facts, kind);

	if (pool == NULL)
		return false;
	finding->urgent = true;
	finding->confidence = CONFIDENCE_SURE;
	finding->sentence = psprintf("%s: %d of %d connections in use, " INT64_FORMAT " refused for that (%s)",
								 kind == POOL_WALSENDERS ? "replication" : limit_text(&pool->limit), pool->in_use, pool->limit.capacity,
								 pool->refused, is);
	finding->evidence = pool->peak_in_use > 0 ? psprintf("At its peak %d were in use.", pool->peak_in_use) : NULL;
	finding->next_step = statement;
	return true;
}

/* Returns the statement that shows what the sessions do whose column has that name, palloc'd. */
static char *
states_statement(const Facts *facts, PoolKind kind, const char *column)
{
	const PoolRow *pool = pool_reached(facts, kind);

	if (pool == NULL)
		return NULL;
	return psprintf("SELECT service, state, count(*), max(idle_ms) AS idle_ms FROM pool_exhaust_backends WHERE %s = %s GROUP BY 1, 2 ORDER BY 3 DESC;",
					column, quote_literal_cstr(pool->limit.name));
}

static bool
is_of_role(const Facts *facts, const SessionFacts *session)
{
	return is_of_reached(facts, session, POOL_ROLE);
}

static bool
judge_role_limit(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	return judge_limit(facts, finding, POOL_ROLE, "its CONNECTION LIMIT", states_statement(facts, POOL_ROLE, "usename"));
}

const Explanation explanation_role_limit = {
	.name = "role_limit",
	.accounts_for = is_of_role,
	.judge = judge_role_limit,
};

static bool
is_of_database(const Facts *facts, const SessionFacts *session)
{
	return is_of_reached(facts, session, POOL_DATABASE);
}

static bool
judge_database_limit(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	return judge_limit(facts, finding, POOL_DATABASE, "its CONNECTION LIMIT", states_statement(facts, POOL_DATABASE, "datname"));
}

const Explanation explanation_database_limit = {
	.name = "database_limit",
	.accounts_for = is_of_database,
	.judge = judge_database_limit,
};

static bool
judge_walsender_limit(const Facts *facts, const Crowd *crowd, Finding *finding)
{
	if (!judge_limit(facts, finding, POOL_WALSENDERS, "max_wal_senders",
					 "SELECT pid, usename, application_name, client_addr, state, backend_start FROM pg_stat_replication ORDER BY backend_start;"))
		return false;
	finding->weight = pool_reached(facts, POOL_WALSENDERS)->in_use;
	return true;
}

const Explanation explanation_walsender_limit = {
	.name = "walsender_limit",
	.judge = judge_walsender_limit,
};

/*
 * pool_pgbouncer.c
 *		The connections to the server that PgBouncer lets its clients share.
 *
 * A client has one for as long as the pool's mode says: its session, a
 * transaction, or a statement; and waits for it where none is free, until
 * query_wait_timeout.  So a request takes a client and begins just that:
 *
 *		session			logs in, "SELECT 1"			gives back: logs out
 *		transaction		"BEGIN"						gives back: ends it
 *		statement		what it is to run, which says itself when it begins
 *
 * and is granted when that has begun.  A request that is to run nothing holds its
 * connection, in statement mode, by a statement that goes on and on, and says so
 * again and again: the server notices at the next one that the client is gone.
 * Clients that are logged in and have given back are used again.
 */
#include "postgres.h"

#include "load/failure.h"
#include "load/pool/pool.h"
#include "load/target/probe.h"

typedef enum PoolMode
{
	MODE_SESSION,
	MODE_TRANSACTION,
	MODE_STATEMENT
} PoolMode;

static const struct
{
	const char *name;
	const char *begin;			/* what a client begins with; NULL: what it is to run */
}			modes[] = {
	[MODE_SESSION] = {"session", "SELECT 1"},
	[MODE_TRANSACTION] = {"transaction", "BEGIN"},
	[MODE_STATEMENT] = {"statement", NULL},
};

#define ROLLBACK_TIMEOUT_MS	(5 * 1000)

typedef struct BouncerPool
{
	Pool		pool;			/* must be first; its sessions are the clients */
	BouncerPoolConfig config;
	PoolMode	mode;
} BouncerPool;

static PoolMode
client_mode(const PoolSession *client)
{
	return ((BouncerPool *) pool_of(client))->mode;
}

/* ---------- To be granted ---------- */

/* The answer to what a client begins with. */
static void
client_began(void *arg, const QueryResult *result)
{
	PoolSession *client = arg;
	ConnectResult failure = {0};

	if (result->ok)
	{
		pool_session_grant(client, client->request);
		return;
	}
	strlcpy(failure.sqlstate, result->sqlstate, sizeof(failure.sqlstate));
	strlcpy(failure.message, result->message, MESSAGE_LEN);
	failure_classify(&failure);
	pool_session_fail(client, &failure);
}

/* A hold in statement mode is over before it was given back: that was an hour. */
static void
hold_is_over(void *arg, const QueryResult *result)
{
}

/* What it is to run says itself when it begins; nothing to run: it holds. */
static void
client_begin_statement(PoolSession *client)
{
	const char *sql = client->request->sql;
	char	   *text;

	if (sql == NULL)
	{
		session_query(&client->session, ENDLESS_SQL, 0, hold_is_over, client);
		return;
	}
	text = malloc(strlen(START_SQL "; ") + strlen(sql) + 1);
	if (text != NULL)
		sprintf(text, START_SQL "; %s", sql);
	session_query(&client->session, text != NULL ? text : sql, 0, client_began, client);
	free(text);
}

static void
client_begin(PoolSession *client)
{
	const char *begin = modes[client_mode(client)].begin;

	pool_session_change(client, POOL_SESSION_BEGINNING);
	if (begin != NULL)
		session_query(&client->session, begin, 0, client_began, client);
	else
		client_begin_statement(client);
}

static void
client_opened(PoolSession *client)
{
	if (client->request != NULL)
		client_begin(client);
	else
		pool_session_close(client); /* canceled meanwhile */
}

/* Each request in its turn gets a client: one that is logged in, or a new one. */
static void
bouncer_serve(Pool *pool)
{
	while (!dlist_is_empty(&pool->queue))
	{
		if (pool->nidle > 0)
		{
			PoolSession *client = dlist_head_element(PoolSession, session.node, &pool->idle);

			request_serve(client);
			client_begin(client);
		}
		else if (pool_may_open(pool))
			pool_session_open(pool);
		else
			return;
	}
}

static bool
bouncer_admit(Pool *pool, Request *request)
{
	const Figures *figures = &((BouncerPool *) pool)->config.probe->figures;

	request->queued = pool->stats.held + pool->stats.wanted >= figures->pool_size;
	return true;
}

/* ---------- To give back ---------- */

static void
client_rest(PoolSession *client)
{
	pool_session_change(client, POOL_SESSION_IDLE);
	bouncer_serve(pool_of(client));
}

static void
client_transaction_ended(void *arg, const QueryResult *result)
{
	PoolSession *client = arg;

	if (result->ok)
		client_rest(client);
	else
		pool_session_close(client);
}

static void
client_release(PoolSession *client)
{
	PGTransactionStatusType status = PQtransactionStatus(client->session.conn);

	if (client_mode(client) == MODE_SESSION || client->session.done != NULL)
		pool_session_close(client);
	else if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR)
	{
		pool_session_change(client, POOL_SESSION_RESETTING);
		session_query(&client->session, status == PQTRANS_INTRANS ? "COMMIT" : "ROLLBACK",
					  ROLLBACK_TIMEOUT_MS, client_transaction_ended, client);
	}
	else
		client_rest(client);
}

/* Those that wait in PgBouncer's own queue leave it by hanging up. */
static void
bouncer_cancel(Pool *pool)
{
	for (int i = 0; i < pool->nsessions; i++)
	{
		PoolSession *client = &pool->sessions[i];
		Request    *request = client->request;

		if (request == NULL || client->state == POOL_SESSION_IN_USE)
			continue;
		client->request = NULL;
		if (client->state == POOL_SESSION_BEGINNING)
			pool_session_close(client);
		request_end(request, ACQUIRE_CANCELED);
	}
}

/* Fills in what the run knows of such a pool, and what the console says of it. */
void
pool_bouncer_state(const Pool *pool, const Probe *probe, PoolState *truth)
{
	const Figures *figures = &probe->figures;

	truth->capacity = figures->pool_size + figures->reserve;
	truth->in_use = truth->ours = pool->stats.held;
	truth->idle = pool->nidle;
	truth->overflow = Max(truth->in_use - figures->pool_size, 0);
	truth->waiting = pool->stats.wanted;
	truth->said_in_use = figures->active;
	truth->said_peak = probe->peak_active;
	truth->said_waiting = figures->waiting;
	truth->full_cause = CAUSE_NONE;
}

static void
bouncer_read_state(Pool *pool, PoolState *truth)
{
	pool_bouncer_state(pool, ((BouncerPool *) pool)->config.probe, truth);
	truth->oldest_us = dlist_is_empty(&pool->served) ? 0 : dlist_head_element(Request, node, &pool->served)->asked_us;
}

static bool
bouncer_refresh(Pool *pool, uint64 since_us)
{
	return probe_refresh(((BouncerPool *) pool)->config.probe, since_us);
}

static uint64
bouncer_answered_in_us(Pool *pool)
{
	return ((BouncerPool *) pool)->config.probe->round_us;
}

static const PoolType pool_pgbouncer = {
	.kind = "pgbouncer",
	.queues = true,
	.read_state = bouncer_read_state,
	.refresh = bouncer_refresh,
	.answered_in_us = bouncer_answered_in_us,
	.admit = bouncer_admit,
	.serve = bouncer_serve,
	.opened = client_opened,
	.release = client_release,
	.cancel = bouncer_cancel,
};

/* Returns the pool mode of that name, -1 if there is none. */
static int
mode_by_name(const char *name)
{
	for (int mode = 0; mode < lengthof(modes); mode++)
		if (strcmp(name, modes[mode].name) == 0)
			return mode;
	return -1;
}

/* Is there a pool mode of that name? */
bool
pgbouncer_mode_is_known(const char *name)
{
	return mode_by_name(name) >= 0;
}

/*
 * Makes such a pool, of the mode that the probe has heard of.  Opens no
 * connection.  The pool and its clients live in the current memory context,
 * which must outlive the loop.
 */
Pool *
pool_open_pgbouncer(const BouncerPoolConfig *config)
{
	BouncerPool *bp = palloc0(sizeof(BouncerPool));
	PoolLogins	logins = {config->loop, config->login, config->handshakes, config->timeout_ms};

	bp->config = *config;
	bp->mode = (PoolMode) Max(mode_by_name(config->probe->figures.mode), MODE_SESSION);
	pool_init(&bp->pool, &pool_pgbouncer, &logins, config->clients_max);
	return &bp->pool;
}

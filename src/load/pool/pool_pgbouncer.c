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
 * again and again: the server notices at the next one that the client is gone.  Clients that are logged in and have given back are used again.
 */
#include "postgres.h"

#include "lib/ilist.h"

#include "load/pool/pool_sessions.h"
#include "load/target/probe.h"

typedef enum PoolMode
{
	MODE_SESSION,
	MODE_TRANSACTION,
	MODE_STATEMENT
} PoolMode;

static const char *const mode_names[] = {
	[MODE_SESSION] = "session",
	[MODE_TRANSACTION] = "transaction",
	[MODE_STATEMENT] = "statement",
};

#define ROLLBACK_TIMEOUT_MS	(5 * 1000)

/* Only client_change() sets it. */
typedef enum ClientState
{
	CLIENT_UNUSED,
	CLIENT_CONNECTING,
	CLIENT_IDLE,
	CLIENT_WAITING,				/* has sent what it begins with */
	CLIENT_GRANTED,
	CLIENT_ENDING,				/* of a transaction */
	CLIENT_CLOSING				/* libuv has not let go of it yet */
} ClientState;

typedef struct BouncerClient
{
	Session		session;		/* must be first; its node is in unused or idle */
	ClientState state;
	Request    *request;		/* while connecting for it, waiting, granted */
} BouncerClient;

typedef struct BouncerPool
{
	Pool		pool;			/* must be first */
	BouncerPoolConfig config;
	PoolMode	mode;
	BouncerClient *clients;		/* clients_max of them */
	int			nidle;
	dlist_head	unused;
	dlist_head	idle;
	dlist_head	wanting;		/* requests that have no client yet ... */
	dlist_head	waiting;		/* ... and those that have, the oldest first */
} BouncerPool;

static void bouncer_serve(BouncerPool *bp);

static BouncerPool *
client_pool(BouncerClient *client)
{
	return client->session.owner;
}

/*
 * The one function that changes the state of a client: takes it off the list of
 * the old state, puts it into that of the new one, and counts.
 */
static void
client_change(BouncerClient *client, ClientState state)
{
	BouncerPool *bp = client_pool(client);
	ClientState old = client->state;

	if (old == CLIENT_UNUSED || old == CLIENT_IDLE)
		dlist_delete(&client->session.node);
	bp->nidle += (state == CLIENT_IDLE) - (old == CLIENT_IDLE);
	bp->pool.stats.opening += (state == CLIENT_CONNECTING) - (old == CLIENT_CONNECTING);
	client->state = state;
	if (state == CLIENT_UNUSED)
		dlist_push_head(&bp->unused, &client->session.node);
	else if (state == CLIENT_IDLE)
		dlist_push_head(&bp->idle, &client->session.node);
	if (state != CLIENT_CONNECTING && state != CLIENT_WAITING && state != CLIENT_GRANTED)
		client->request = NULL;
}

static void
client_close(BouncerClient *client)
{
	client_change(client, CLIENT_CLOSING);
	session_close(&client->session);
}

/* ---------- To be granted ---------- */

/* The next of those that want one gets this client. */
static void
client_take_request(BouncerClient *client)
{
	BouncerPool *bp = client_pool(client);

	client->request = dlist_container(Request, node, dlist_pop_head_node(&bp->wanting));
	dlist_push_tail(&bp->waiting, &client->request->node);
}

/* Its wait is over, however it ended; NULL if it was canceled before. */
static Request *
client_end_wait(BouncerClient *client)
{
	Request    *request = client->request;

	if (request == NULL)
		return NULL;
	dlist_delete(&request->node);
	client_pool(client)->pool.stats.wanted--;
	return request;
}

static void
client_grant(BouncerClient *client)
{
	Request    *request = client_end_wait(client);

	client_change(client, CLIENT_GRANTED);
	pool_grant(&client_pool(client)->pool, request, &client->session);
}

/* The request got nothing, and why; its client is closed by then. */
static void
request_fail(BouncerPool *bp, Request *request, const ConnectResult *failure)
{
	PoolStats  *stats = &bp->pool.stats;
	bool		timed_out = failure->cause == CAUSE_POOLER_QUEUE_TIMEOUT;

	bp->pool.last_failure = *failure;
	if (failure->end == CONNECT_REFUSED)
		pool_count_refusal(&bp->pool, failure);
	if (timed_out)
		stats->timed_out++;
	else if (failure->end == CONNECT_REFUSED)
		stats->refused++;
	else
		stats->failed++;
	request->events->ended(request, timed_out ? ACQUIRE_TIMED_OUT
						   : failure->end == CONNECT_REFUSED ? ACQUIRE_REFUSED : ACQUIRE_FAILED);
}

/* The answer to what a client begins with. */
static void
client_began(void *arg, const QueryResult *result)
{
	BouncerClient *client = arg;
	BouncerPool *bp = client_pool(client);
	ConnectResult failure = {CONNECT_DENIED, CAUSE_NONE};
	Request    *request;

	if (result->ok)
	{
		client_grant(client);
		return;
	}
	request = client_end_wait(client);
	strlcpy(failure.sqlstate, result->sqlstate, sizeof(failure.sqlstate));
	strlcpy(failure.message, result->message, MESSAGE_LEN);
	failure.cause = cause_of_answer(result->sqlstate, "", result->message);
	if (failure.cause != CAUSE_NONE)
		failure.end = CONNECT_REFUSED;
	client_close(client);
	request_fail(bp, request, &failure);
}

/* A hold in statement mode is over before it was given back: that was an hour. */
static void
hold_is_over(void *arg, const QueryResult *result)
{
}

/* What it is to run says itself when it begins; nothing to run: it holds. */
static void
client_begin_statement(BouncerClient *client)
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
client_begin(BouncerClient *client)
{
	client_change(client, CLIENT_WAITING);
	switch (client_pool(client)->mode)
	{
		case MODE_SESSION:
			session_query(&client->session, "SELECT 1", 0, client_began, client);
			break;
		case MODE_TRANSACTION:
			session_query(&client->session, "BEGIN", 0, client_began, client);
			break;
		case MODE_STATEMENT:
			client_begin_statement(client);
			break;
	}
}

/* In statement mode this is the grant: the answer belongs to the holder. */
static void
client_says_begin(Session *session)
{
	BouncerClient *client = (BouncerClient *) session;

	if (client->state == CLIENT_WAITING)
		client_grant(client);
}

static void
client_connected(Session *session, const ConnectResult *result)
{
	BouncerClient *client = (BouncerClient *) session;
	BouncerPool *bp = client_pool(client);
	Request    *request = client->request;

	if (result->end == CONNECT_GRANTED && request != NULL)
	{
		request->connect_us = result->took_us;
		client_begin(client);
	}
	else if (result->end == CONNECT_GRANTED)
		client_close(client);	/* canceled meanwhile */
	else
	{
		(void) client_end_wait(client);
		client_close(client);
		if (request != NULL)
			request_fail(bp, request, result);
	}
	bouncer_serve(bp);
}

static void
client_lost(Session *session)
{
	BouncerClient *client = (BouncerClient *) session;
	BouncerPool *bp = client_pool(client);
	Request    *request = client->request;
	ClientState was = client->state;
	ConnectResult failure;

	session_failure(session, &failure);
	if (was == CLIENT_WAITING)
		(void) client_end_wait(client);
	client_close(client);
	if (was == CLIENT_WAITING)
		request_fail(bp, request, &failure);
	else if (was == CLIENT_GRANTED)
		pool_lose(request, &failure);
	bouncer_serve(bp);
}

static void
client_unused(Session *session)
{
	BouncerPool *bp = session->owner;

	client_change((BouncerClient *) session, CLIENT_UNUSED);
	bouncer_serve(bp);
}

static const SessionEvents client_events = {
	.connected = client_connected,
	.lost = client_lost,
	.unused = client_unused,
	.began = client_says_begin,
};

/* Each request in its turn gets a client: one that is logged in, or a new one. */
static void
bouncer_serve(BouncerPool *bp)
{
	PoolStats  *stats = &bp->pool.stats;

	while (!dlist_is_empty(&bp->wanting))
	{
		BouncerClient *client;

		if (bp->nidle > 0)
		{
			client = dlist_head_element(BouncerClient, session.node, &bp->idle);
			client_take_request(client);
			client_begin(client);
			continue;
		}
		if (stats->opening >= bp->config.handshakes || dlist_is_empty(&bp->unused))
			return;
		client = dlist_head_element(BouncerClient, session.node, &bp->unused);
		client_take_request(client);
		client_change(client, CLIENT_CONNECTING);
		session_open(&client->session, bp->config.loop, bp->config.login, bp->config.timeout_ms,
					 &client_events, bp);
	}
}

static void
bouncer_acquire(Pool *pool, Request *request)
{
	BouncerPool *bp = (BouncerPool *) pool;

	request->queued = pool->stats.held + pool->stats.wanted >= bp->config.probe->figures.pool_size;
	pool->stats.wanted++;
	dlist_push_tail(&bp->wanting, &request->node);
	bouncer_serve(bp);
}

/* ---------- To give back ---------- */

static void
client_rest(BouncerClient *client)
{
	client_change(client, CLIENT_IDLE);
	bouncer_serve(client_pool(client));
}

static void
client_transaction_ended(void *arg, const QueryResult *result)
{
	BouncerClient *client = arg;

	if (result->ok)
		client_rest(client);
	else
		client_close(client);
}

static void
bouncer_release(Pool *pool, Request *request)
{
	BouncerPool *bp = (BouncerPool *) pool;
	BouncerClient *client = (BouncerClient *) request->session;
	PGTransactionStatusType status;

	if (client == NULL)
		return;					/* it was lost */
	status = PQtransactionStatus(client->session.conn);
	if (bp->mode == MODE_SESSION || client->session.done != NULL)
		client_close(client);
	else if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR)
	{
		client_change(client, CLIENT_ENDING);
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
	BouncerPool *bp = (BouncerPool *) pool;

	pool_cancel_requests(pool, &bp->wanting);
	for (int i = 0; i < bp->config.clients_max; i++)
	{
		BouncerClient *client = &bp->clients[i];
		Request    *request;

		if (client->state != CLIENT_CONNECTING && client->state != CLIENT_WAITING)
			continue;
		request = client_end_wait(client);
		client->request = NULL;
		if (client->state == CLIENT_WAITING)
			client_close(client);
		if (request != NULL)
			request->events->ended(request, ACQUIRE_CANCELED);
	}
}

static void
bouncer_close(Pool *pool)
{
	BouncerPool *bp = (BouncerPool *) pool;

	pool_drain(pool);
	for (int i = 0; i < bp->config.clients_max; i++)
		if (bp->clients[i].state != CLIENT_UNUSED && bp->clients[i].state != CLIENT_CLOSING)
			client_close(&bp->clients[i]);
	pool->stats.held = 0;
}

static void
bouncer_read_state(Pool *pool, PoolState *truth)
{
	BouncerPool *bp = (BouncerPool *) pool;
	const Figures *figures = &bp->config.probe->figures;

	truth->capacity = figures->pool_size + figures->reserve;
	truth->in_use = truth->ours = pool->stats.held;
	truth->idle = bp->nidle;
	truth->overflow = Max(truth->in_use - figures->pool_size, 0);
	truth->waiting = pool->stats.wanted;
	truth->said_in_use = figures->active;
	truth->said_peak = bp->config.probe->peak_active;
	truth->said_waiting = figures->waiting;
	truth->oldest_us = dlist_is_empty(&bp->waiting) ? 0 : dlist_head_element(Request, node, &bp->waiting)->asked_us;
	truth->full_cause = CAUSE_NONE;
}

static bool
bouncer_refresh(Pool *pool, uint64 since_us)
{
	return probe_refresh(((BouncerPool *) pool)->config.probe, since_us);
}

static const PoolDriver pool_pgbouncer = {
	.kind = "pgbouncer",
	.queues = true,
	.read_state = bouncer_read_state,
	.refresh = bouncer_refresh,
	.acquire = bouncer_acquire,
	.release = bouncer_release,
	.cancel = bouncer_cancel,
	.close = bouncer_close,
};

/* Is there a pool mode of that name? */
bool
pgbouncer_mode_is_known(const char *name)
{
	for (int mode = 0; mode < lengthof(mode_names); mode++)
		if (strcmp(name, mode_names[mode]) == 0)
			return true;
	return false;
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

	pool_init(&bp->pool, &pool_pgbouncer, config->clients_max);
	bp->config = *config;
	for (int mode = 0; mode < lengthof(mode_names); mode++)
		if (strcmp(config->probe->figures.mode, mode_names[mode]) == 0)
			bp->mode = mode;
	bp->clients = pool_make_sessions(config->clients_max, sizeof(BouncerClient), &client_events, bp, &bp->unused);
	dlist_init(&bp->idle);
	dlist_init(&bp->wanting);
	dlist_init(&bp->waiting);
	return &bp->pool;
}

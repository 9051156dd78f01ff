/*
 * client.c
 *		Simulated users of a pool, and what became of them.
 *
 *		ask -> (wait) -> granted -> query -> hold -> give back
 *
 * Times count from the intended start of an operation, so that a client that
 * had to come late does not hide the wait.
 */
#include "postgres.h"

#include <math.h>

#include "utils/memutils.h"

#include "load/client.h"

/* A closed-loop client that was refused tries again after that. */
#define REFUSED_PAUSE_US	(10 * 1000)

/* Memory for clients of an open loop comes in chunks, and there is an end. */
#define CLIENTS_CHUNK	256
#define CLIENTS_MAX		(1024 * CLIENTS_CHUNK)

struct Client
{
	Request		request;		/* must be first */
	Load	   *load;
	dlist_node	node;			/* in load->free */
	Alarm		alarm;			/* end of the hold, or of the pause */
	Tally	   *tally;
	uint64		intended_us;
	uint64		granted_us;
	uint64		hold_us;
	uint64		broken_us;		/* load->broken_us, as it was ... */
	int			in_a_row;		/* ... and operations begun since then that succeeded */
	int			batch;
	int			left;			/* operations still to do, of a closed loop; 0 = no end */
	bool		failing;		/* this operation is to fail */
	bool		failed;			/* it has */
	bool		leaked;			/* and kept its connection */
};

static void client_ask(Client *client);

void
tally_merge(Tally *into, const Tally *from)
{
	into->asked += from->asked;
	into->granted += from->granted;
	into->refused += from->refused;
	into->timed_out += from->timed_out;
	into->unserved += from->unserved;
	into->succeeded += from->succeeded;
	into->failed += from->failed;
	into->failing += from->failing;
	into->queued += from->queued;
	if (into->shortest_timeout_us == 0 ||
		(from->shortest_timeout_us > 0 && from->shortest_timeout_us < into->shortest_timeout_us))
		into->shortest_timeout_us = from->shortest_timeout_us;
	into->longest_timeout_us = Max(into->longest_timeout_us, from->longest_timeout_us);
	into->hold_us += from->hold_us;
	into->wait_us += from->wait_us;
	histogram_merge(&into->wait, &from->wait);
	histogram_merge(&into->connect, &from->connect);
	histogram_merge(&into->query, &from->query);
	histogram_merge(&into->response, &from->response);
}

/* Returns what became of all clients of the load, burst or not, so far; palloc'd. */
Tally *
load_tally(const Load *load)
{
	Tally	   *tally = palloc(sizeof(Tally));

	*tally = load->calm;
	tally_merge(tally, &load->burst);
	return tally;
}

static void
client_broke(const Client *client)
{
	client->load->broken_us = loop_now_us();
	client->load->restored = 0;
}

static void
client_succeeded(Client *client)
{
	Load	   *load = client->load;

	client->tally->succeeded++;
	load->last_us = loop_now_us() - client->intended_us;
	if (client->broken_us != load->broken_us)
		client->in_a_row = 0;
	client->broken_us = load->broken_us;
	if (client->intended_us > load->broken_us && ++client->in_a_row == RESTORED_AFTER)
		load->restored++;
}

static void
client_retire(Client *client)
{
	client->load->busy--;
	dlist_push_head(&client->load->free, &client->node);
}

/* The client is done for now, however that was. */
static void
client_rest(Client *client, uint64 pause_us)
{
	Load	   *load = client->load;
	uint64		now_us = loop_now_us();

	load->ended = Min(load->ended, PG_INT32_MAX - 1) + 1;
	histogram_add(&client->tally->response, now_us - client->intended_us);
	if (load->config.arrival == NULL && !load->stopped && client->left != 1)
	{
		if (client->left > 1)
			client->left--;
		client->intended_us = now_us + pause_us;
		if (pause_us > 0)
			alarm_set(load->config.clock, &client->alarm, client->intended_us);
		else
			client_ask(client);
		return;
	}
	client_retire(client);
}

/* One client more holds a connection, or one less. */
static void
load_change_holding(Load *load, int change)
{
	load->holding += change;
	load->peak_holding = Max(load->peak_holding, load->holding);
	load->changes++;
	load->changes_us += loop_now_us();
}

/* The operation is over: counts it, and gives the connection back. */
static void
client_finish(Client *client)
{
	Load	   *load = client->load;
	Tally	   *tally = client->tally;

	tally->hold_us += loop_now_us() - client->granted_us;
	if (!client->failed)
		client_succeeded(client);
	else
	{
		tally->failed++;
		client_broke(client);
	}
	if (client->failed && load->config.leak_on_error)
	{
		client->leaked = true;
		load->leaked++;
		load->busy--;
		return;
	}
	load_change_holding(load, -1);
	pool_release(&client->request);
	client_rest(client, 0);
}

static void
client_hold(Client *client)
{
	if (client->hold_us > 0 || client->load->config.sql == NULL)
		alarm_set(client->load->config.clock, &client->alarm, loop_now_us() + client->hold_us);
	else
		client_finish(client);
}

static void
client_answered(void *arg, const QueryResult *result)
{
	Client	   *client = arg;

	histogram_add(&client->tally->query, loop_now_us() - client->granted_us);
	client->failed = !result->ok;
	if (client->failed)
		client_finish(client);
	else
		client_hold(client);
}

static void
client_granted(Client *client)
{
	Load	   *load = client->load;
	Session    *session = client->request.session;
	Tally	   *tally = client->tally;
	uint64		wait_us;

	client->granted_us = loop_now_us();
	wait_us = client->granted_us - client->intended_us;
	load_change_holding(load, 1);
	tally->granted++;
	tally->wait_us += wait_us;
	tally->queued += client->request.queued;
	tally->failing += client->failing;
	load->batch_wait_us[client->batch] += wait_us;
	load->batch_granted[client->batch]++;
	histogram_add(&tally->wait, wait_us);
	histogram_add(&tally->connect, client->request.connect_us);
	if (session->done != NULL)
		session_take_over(session, client_answered, client);
	else if (client->request.sql != NULL)
		session_query(session, client->request.sql, 0, client_answered, client);
	else
		client_hold(client);
}

/* That one was granted before whatever comes. */
static void
order_settle(GrantOrder *order, GrantedRequest granted)
{
	if (granted.number > order->before.number)
		order->before = granted;
}

static void
order_settle_oldest(GrantOrder *order)
{
	order_settle(order, order->lately[order->oldest]);
	order->oldest = (order->oldest + 1) % order->together;
	order->nlately--;
}

static void
order_keep(GrantOrder *order, GrantedRequest granted)
{
	if (order->together == 0)
	{
		order_settle(order, granted);
		return;
	}
	if (order->nlately == order->together)
		order_settle_oldest(order);
	order->lately[(order->oldest + order->nlately++) % order->together] = granted;
}

static void
order_note(GrantOrder *order, GrantedRequest granted)
{
	while (order->nlately > 0 && order->lately[order->oldest].granted_us + order->slack_us <= granted.granted_us)
		order_settle_oldest(order);
	if (granted.number < order->before.number && granted.reached_us + order->slack_us <= order->before.reached_us)
		order->overtaken++;
	order_keep(order, granted);
}

static void
client_note_order(GrantOrder *order, const Request *request)
{
	const GrantedRequest granted = {request->number, request->reached_us, loop_now_us()};

	if (order->deferred != NULL)
		order_defer(order, granted);
	else
		order_note(order, granted);
}

/* From now on grants are deferred, so many more, in the current memory context. */
void
order_reserve(GrantOrder *order, int more)
{
	GrantedRequest *deferred = palloc_extended(sizeof(GrantedRequest) * (order->deferred_max + more), MCXT_ALLOC_HUGE);

	if (order->ndeferred > 0)
		memcpy(deferred, order->deferred, sizeof(GrantedRequest) * order->ndeferred);
	if (order->deferred != NULL)
		pfree(order->deferred);
	order->deferred = deferred;
	order->deferred_max += more;
}

/* Defers one grant: it is judged by order_judge(), or elsewhere. */
void
order_defer(GrantOrder *order, GrantedRequest granted)
{
	if (order->ndeferred < order->deferred_max)
		order->deferred[order->ndeferred++] = granted;
}

static int
compare_granted(const void *a, const void *b)
{
	uint64		x = ((const GrantedRequest *) a)->granted_us;
	uint64		y = ((const GrantedRequest *) b)->granted_us;

	return (x > y) - (x < y);
}

/*
 * Judges the grants that were deferred, in the order of their moments: clients of several
 * drivers count their requests each for themselves, so those are numbered by when they
 * reached the pool.
 */
void
order_judge(GrantOrder *order)
{
	if (order->ndeferred > 1)
		qsort(order->deferred, order->ndeferred, sizeof(GrantedRequest), compare_granted);
	for (int i = 0; i < order->ndeferred; i++)
	{
		order->deferred[i].number = order->deferred[i].reached_us;
		order_note(order, order->deferred[i]);
	}
	order->ndeferred = 0;
}

static void
client_ended(Request *request, AcquireEnd end)
{
	Client	   *client = (Client *) request;
	Tally	   *tally = client->tally;
	uint64		waited_us = loop_now_us() - request->asked_us;

	client->load->asking--;
	switch (end)
	{
		case ACQUIRE_GRANTED:
			client_note_order(client->load->config.order, request);
			client_granted(client);
			return;
		case ACQUIRE_TIMED_OUT:
			tally->timed_out++;
			tally->longest_timeout_us = Max(tally->longest_timeout_us, waited_us);
			if (tally->shortest_timeout_us == 0 || waited_us < tally->shortest_timeout_us)
				tally->shortest_timeout_us = waited_us;
			break;
		case ACQUIRE_REFUSED:
			tally->refused++;
			break;
		case ACQUIRE_FAILED:
			tally->unserved++;
			break;
		case ACQUIRE_CANCELED:
			tally->asked--;
			client->load->stopped = true;
			client_retire(client);
			return;
	}
	client_broke(client);
	client_rest(client, REFUSED_PAUSE_US);
}

static void
client_lost(Request *request)
{
	Client	   *client = (Client *) request;

	if (client->leaked)
	{
		client->leaked = false;
		client->load->leaked--;
		load_change_holding(client->load, -1);
		pool_release(request);
		dlist_push_head(&client->load->free, &client->node);
		return;
	}
	alarm_unset(client->load->config.clock, &client->alarm);
	client->failed = true;
	client_finish(client);
}

static const RequestEvents client_events = {
	.ended = client_ended,
	.lost = client_lost,
};

static void
client_ask(Client *client)
{
	Load	   *load = client->load;
	const LoadConfig *config = &load->config;

	client->failed = false;
	client->failing = false;
	client->hold_us = (uint64) (config->hold_ms * 1000 *
								(config->exponential ? random_exponential(&load->holds) : 1));
	if (config->failing_percent > 0)
		client->failing = pg_prng_double(&load->failures) * 100 < config->failing_percent;
	client->request.sql = client->failing ? config->failing_sql : config->sql;
	client->tally->asked++;
	load->asking++;
	pool_acquire(config->pool, &client->request);
}

/* The alarm rings when a hold or a pause is over; only a hold has a session. */
static void
client_rung(Alarm *alarm)
{
	Client	   *client = alarm->owner;

	if (client->request.session != NULL)
		client_finish(client);
	else if (client->load->stopped)
		client_retire(client);
	else
		client_ask(client);
}

/* Makes more clients; false if there is no memory, or enough of them. */
static bool
load_grow(Load *load)
{
	Client	   *clients;

	if (load->clients >= CLIENTS_MAX)
		return false;
	clients = MemoryContextAllocExtended(load->context, sizeof(Client) * CLIENTS_CHUNK,
										 MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	if (clients == NULL)
		return false;
	for (int i = 0; i < CLIENTS_CHUNK; i++)
	{
		clients[i].request.events = &client_events;
		clients[i].load = load;
		clients[i].tally = &load->calm;
		clients[i].alarm.ring = client_rung;
		clients[i].alarm.owner = &clients[i];
		dlist_push_tail(&load->free, &clients[i].node);
	}
	load->clients += CLIENTS_CHUNK;
	return true;
}

/* A client comes, to begin at that moment, which may have passed. */
static Client *
load_client(Load *load, uint64 intended_us)
{
	Client	   *client;

	if (dlist_is_empty(&load->free) && !load_grow(load))
	{
		load->over_limit++;
		return NULL;
	}
	client = dlist_container(Client, node, dlist_pop_head_node(&load->free));
	client->intended_us = intended_us;
	client->left = load->config.operations;
	load->busy++;
	return client;
}

/* The arrivals that are due by now happen. */
static void
load_arrive(Alarm *alarm)
{
	Load	   *load = alarm->owner;
	uint64		now_us = loop_now_us();

	while (load->coming && load->begun_us + load->next_us <= now_us)
	{
		Client	   *client = load_client(load, load->begun_us + load->next_us);

		if (client != NULL)
		{
			client->tally = arrival_in_burst(&load->arrival, load->next_us) ? &load->burst : &load->calm;
			client->batch = (int) (load->next_us * BATCHES / load->arrival.duration_us);
			client_ask(client);
		}
		load->coming = !load->stopped && arrival_next(&load->arrival, &load->next_us);
	}
	if (load->coming)
		alarm_set(load->config.clock, &load->next, load->begun_us + load->next_us);
}

/* Makes a load, in the current memory context, which must outlive the loop. */
Load *
load_create(const LoadConfig *config)
{
	Load	   *load = palloc0(sizeof(Load));

	load->config = *config;
	if (config->order == NULL)
		load->config.order = &load->order;
	load->context = CurrentMemoryContext;
	load->next.ring = load_arrive;
	load->next.owner = load;
	dlist_init(&load->free);
	random_stream(&load->holds, config->seed, RANDOM_HOLDS);
	random_stream(&load->failures, config->seed, RANDOM_FAILURES);
	if (config->arrival != NULL)
	{
		load->arrival = *config->arrival;
		load->config.arrival = &load->arrival;
	}
	return load;
}

/* Lets the clients come.  What becomes of them shows while the loop turns. */
void
load_begin(Load *load)
{
	Pool	   *pool = load->config.pool;

	load->begun_us = loop_now_us();
	if (pool->type->load_begin != NULL)
	{
		pool->type->load_begin(pool, load);
		return;
	}
	if (load->config.arrival != NULL)
	{
		arrival_begin(&load->arrival, load->config.seed);
		load->coming = arrival_next(&load->arrival, &load->next_us);
		load_arrive(&load->next);
		return;
	}
	for (int i = 0; i < load->config.clients; i++)
	{
		Client	   *client = load_client(load, loop_now_us());

		if (client != NULL)
			client_ask(client);
	}
}

/* No operation begins any more; those under way come to their end. */
void
load_stop(Load *load)
{
	Pool	   *pool = load->config.pool;

	load->stopped = true;
	if (pool->type->load_stop != NULL)
	{
		pool->type->load_stop(pool, load);
		return;
	}
	load->coming = false;
	alarm_unset(load->config.clock, &load->next);
}

/*
 * Returns the standard error of the mean wait, in microseconds, by the method
 * of batch means: neighbours in a queue are not independent, so the error
 * follows from how the means of long stretches differ.
 */
double
load_wait_error_us(const Load *load)
{
	double		sum = 0;
	double		squares = 0;
	int			n = 0;

	for (int i = 0; i < BATCHES; i++)
	{
		double		mean;

		if (load->batch_granted[i] == 0)
			continue;
		mean = load->batch_wait_us[i] / load->batch_granted[i];
		sum += mean;
		squares += mean * mean;
		n++;
	}
	if (n < 2)
		return 0;
	return sqrt(Max(squares - sum * sum / n, 0) / (n - 1) / n);
}

/*
 * crowd.c
 *		Clients that connect all at once, retry when they are refused, and stay.
 *
 * A wave begins with an attempt of each client that is not connected.  Those that are
 * refused retry, a little later each time, until as many as fit are connected.
 */
#include "postgres.h"

#include "load/crowd.h"

/* A refused client retries after that; twice as late each time, up to a limit. */
#define RETRY_US			(20 * 1000)
#define RETRY_DOUBLED_MAX	4

typedef enum CrowdClientState
{
	CLIENT_RESTING,				/* until it retries */
	CLIENT_CONNECTING,
	CLIENT_CONNECTED
} CrowdClientState;

struct CrowdClient
{
	Request		request;		/* must be first */
	Crowd	   *crowd;
	Alarm		alarm;			/* its retry */
	CrowdClientState state;
	int			attempts;		/* in this wave */
	bool		answered;		/* one of those was, in any way */
};

/* ---------- One client; all of this runs inside the loop ---------- */

static void
client_ask(CrowdClient *client)
{
	Crowd	   *crowd = client->crowd;

	client->state = CLIENT_CONNECTING;
	client->attempts++;
	crowd->attempts++;
	pool_acquire(crowd->config.pool, &client->request);
}

static void
client_retry_due(Alarm *alarm)
{
	client_ask(alarm->owner);
}

/*
 * Clients that are refused at the same time retry at different times.  When all that
 * fit are connected nothing is left to retry for: it would only keep back clients
 * the first attempt of which is still to begin.
 */
static void
client_retry(CrowdClient *client)
{
	Crowd	   *crowd = client->crowd;
	uint64		pause_us = (uint64) RETRY_US << Min(client->attempts - 1, RETRY_DOUBLED_MAX);

	if (!crowd->over && (crowd->in_us == 0 || crowd->connected < crowd->fit))
		alarm_set(crowd->config.clock, &client->alarm,
				  loop_now_us() + (uint64) (pause_us * (0.5 + pg_prng_double(&crowd->jitter))));
}

static void
count_granted(Crowd *crowd)
{
	crowd->granted_us = loop_now_us();
	crowd->granted_in[Min((crowd->granted_us - crowd->begun_us) / CROWD_WINDOW_US, CROWD_WINDOWS - 1)]++;
	if (++crowd->connected == crowd->fit)
		crowd->in_us = crowd->granted_us;
}

static void
client_ended(Request *request, AcquireEnd end)
{
	CrowdClient *client = (CrowdClient *) request;
	Crowd	   *crowd = client->crowd;

	crowd->ended[end]++;
	client->state = end == ACQUIRE_GRANTED ? CLIENT_CONNECTED : CLIENT_RESTING;
	if (end == ACQUIRE_CANCELED)
		return;
	crowd->unanswered -= !client->answered;
	client->answered = true;
	crowd->slowest_us = Max(crowd->slowest_us, loop_now_us() - request->asked_us);
	if (end == ACQUIRE_GRANTED)
		count_granted(crowd);
	else
		client_retry(client);
}

static void
client_disconnect(CrowdClient *client)
{
	client->state = CLIENT_RESTING;
	client->crowd->connected--;
	pool_release(&client->request);
}

/* Its session has been ended: it reconnects at once, as all do. */
static void
client_lost(Request *request)
{
	CrowdClient *client = (CrowdClient *) request;

	client->crowd->cut_off++;
	client_disconnect(client);
	if (!client->crowd->over)
		client_ask(client);
}

static const RequestEvents client_events = {
	.ended = client_ended,
	.lost = client_lost,
};

/* ---------- All of them ---------- */

/* Makes a crowd, in the current memory context, which must outlive the loop. */
Crowd *
crowd_create(const CrowdConfig *config)
{
	Crowd	   *crowd = palloc0(sizeof(Crowd));

	crowd->config = *config;
	crowd->over = crowd->stopped = true;
	random_stream(&crowd->jitter, config->seed, RANDOM_RETRIES);
	if (config->pool->type->crowd != NULL)
		return crowd;			/* its clients are there */
	crowd->clients = palloc_extended(sizeof(CrowdClient) * config->n, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < config->n; i++)
	{
		crowd->clients[i].request.events = &client_events;
		crowd->clients[i].crowd = crowd;
		crowd->clients[i].alarm.ring = client_retry_due;
		crowd->clients[i].alarm.owner = &crowd->clients[i];
	}
	return crowd;
}

/* Begins a wave: its figures are 0.  crowd_connect() follows. */
void
crowd_begin(Crowd *crowd)
{
	crowd->wave++;
	crowd->over = crowd->stopped = false;
	crowd->unanswered = crowd->config.n;
	crowd->refused = 0;
	crowd->attempts = crowd->in_us = crowd->granted_us = crowd->slowest_us = 0;
	memset(crowd->ended, 0, sizeof(crowd->ended));
	memset(crowd->granted_in, 0, sizeof(crowd->granted_in));
	crowd->begun_us = loop_now_us();
	for (int i = 0; crowd->clients != NULL && i < crowd->config.n; i++)
	{
		crowd->clients[i].answered = false;
		crowd->clients[i].attempts = 0;
	}
}

/* The network is cut: sockets close without a message of the protocol. */
static void
drop_sockets(Crowd *crowd)
{
	for (int i = 0; i < crowd->config.n; i++)
	{
		CrowdClient *client = &crowd->clients[i];

		if (client->state != CLIENT_CONNECTED)
			continue;
		session_vanish(client->request.session);
		client_lost(&client->request);
	}
}

/* All that are not connected connect; "cut": those that are, are cut off first. */
void
crowd_connect(Crowd *crowd, bool cut)
{
	Pool	   *pool = crowd->config.pool;

	if (pool->type->crowd != NULL)
	{
		pool->type->crowd(pool, crowd, CROWD_CONNECT, cut);
		return;
	}
	if (cut)
		drop_sockets(crowd);
	for (int i = 0; i < crowd->config.n; i++)
		if (crowd->clients[i].state == CLIENT_RESTING)
			client_ask(&crowd->clients[i]);
}

/* No client retries; those that have made no attempt yet go on. */
void
crowd_enough(Crowd *crowd)
{
	crowd->over = true;
	for (int i = 0; crowd->clients != NULL && i < crowd->config.n; i++)
		alarm_unset(crowd->config.clock, &crowd->clients[i].alarm);
}

/* No attempt begins any more; those under way come to their end, see crowd_rests(). */
void
crowd_stop(Crowd *crowd)
{
	Pool	   *pool = crowd->config.pool;

	crowd_enough(crowd);
	crowd->cut_off = 0;
	if (pool->type->crowd != NULL)
	{
		pool->type->crowd(pool, crowd, CROWD_STOP, 0);
		return;
	}
	crowd->stopped = true;
	pool_cancel(pool);
}

/* So many clients disconnect. */
void
crowd_disconnect(Crowd *crowd, int n)
{
	Pool	   *pool = crowd->config.pool;

	if (pool->type->crowd != NULL)
	{
		pool->type->crowd(pool, crowd, CROWD_DISCONNECT, n);
		return;
	}
	for (int i = 0; i < crowd->config.n && n > 0; i++)
		if (crowd->clients[i].state == CLIENT_CONNECTED)
		{
			client_disconnect(&crowd->clients[i]);
			n--;
		}
}

/* Returns how many clients were answered, and are not connected. */
int
crowd_refused(const Crowd *crowd)
{
	int			n = crowd->refused;

	for (int i = 0; crowd->clients != NULL && i < crowd->config.n; i++)
		n += crowd->clients[i].answered && crowd->clients[i].state == CLIENT_RESTING;
	return n;
}

/* Returns the most grants in one window. */
int
crowd_peak(const Crowd *crowd)
{
	uint32		peak = 0;

	for (int i = 0; i < CROWD_WINDOWS; i++)
		peak = Max(peak, crowd->granted_in[i]);
	return (int) peak;
}

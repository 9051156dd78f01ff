/*
 * pools.c
 *		Pools as applications have them: what they lend, open and close.
 *
 * One machine for all policies.  It follows what the libraries do, also where
 * that is odd: a pool that opens one for a request that waits does not take that back
 * when a connection is returned a moment later; a maximum of idle connections is
 * looked at when one comes back, a maximum of age at checkout or by a timer.
 */
#include "pools.h"

static void pool_serve(Pool *pool, Session *session);

/* ---------- Connections ---------- */

static void
pool_forget(Pool *pool, const Session *session)
{
	int			kept = 0;

	for (int i = 0; i < pool->nidle; i++)
		if (pool->idle[i] != session)
			pool->idle[kept++] = pool->idle[i];
	pool->nidle = kept;
}

static void
pool_close(Pool *pool, Session *session)
{
	pool_forget(pool, session);
	session_close(session);
	pool->total--;
}

/* How many a pool lacks of those that it keeps in reserve. */
static int
lacking(const Pool *pool)
{
	const Policy *policy = pool->policy;
	int			lacks;

	if (policy->least_open)
		return policy->least - pool->total;
	lacks = policy->least - pool->nidle - pool->opening;
	return Min(lacks, policy->most - pool->total);
}

/* The sign of life that some pools send: it takes the connection for that long. */
static void
keepalive(void *what, int64 arg)
{
	Pool	   *pool = what;
	Session    *session = session_of((Ref) {(int) (arg >> 32), (int) arg});

	if (session == NULL || pool->dead)
		return;
	after((uint64) (pool->policy->keepalive_s * between(0.9, 1.0) * SECOND), keepalive, pool, arg);
	if (session->lent || session->leak != LEAK_NONE)
		return;
	session_turn(session, SLOT_ACTIVE);
	session_turn(session, SLOT_IDLE);
}

/* Too old: closed at once, or when it comes back. */
static void
expire(void *what, int64 arg)
{
	Pool	   *pool = what;
	Session    *session = session_of((Ref) {(int) (arg >> 32), (int) arg});

	if (session == NULL || pool->dead)
		return;
	session->evicted = true;
	if (session->lent)
		return;
	pool_close(pool, session);
	pool_fill(pool);
}

static void
set_timers(Pool *pool, Session *session)
{
	const Policy *policy = pool->policy;
	double		life_s = policy->lifetime_s * (1 - policy->jitter * uniform());
	int64		ref = ((int64) session_slot(session) << 32) | session->pid;

	session->expires_us = PG_UINT64_MAX;
	if (policy->lifetime_s > 0)
		session->expires_us = session->opened_us + (uint64) (life_s * SECOND);
	if (policy->lifetime_s > 0 && !policy->lazily)
		at(session->expires_us, expire, pool, ref);
	if (policy->keepalive_s > 0)
		after((uint64) (policy->keepalive_s * between(0.9, 1.0) * SECOND), keepalive, pool, ref);
}

typedef struct Opening
{
	Pool	   *pool;
	Job		   *job;			/* that opens it itself */
	int			setup;			/* statements that are still to be sent */
	bool		sent;
} Opening;

static void
opened(void *what, int64 slot)
{
	Opening    *opening = what;
	Session    *session = &world.sessions[slot];
	Pool	   *pool = opening->pool;

	if (pool->dead || session->pool != pool)
		return;
	if (opening->setup > 0)
	{
		session_turn(session, opening->sent ? SLOT_IDLE : SLOT_ACTIVE);
		opening->setup -= opening->sent;
		opening->sent = !opening->sent;
		after(around(MS), opened, opening, slot);
		return;
	}
	pool->opening--;
	if (opening->job != NULL)
		job_start(opening->job, session);
	else
		pool_serve(pool, session);
	if (pool->policy->one_by_one && pool->waiting > 0)
		pool_fill(pool);
}

static void
pool_open(Pool *pool, Job *job)
{
	Opening    *opening = world_alloc(sizeof(Opening));
	Session    *session;

	*opening = (Opening) {pool, job, pool->policy->setup, false};
	pool->total++;
	pool->opening++;
	session = session_open(pool->service, pool->what, opened, opening);
	session->pool = pool;
	session->lent = true;
	set_timers(pool, session);
}

/* Opens what is lacking, in reserve or for those in line. */
void
pool_fill(Pool *pool)
{
	const Policy *policy = pool->policy;
	int			wanted = lacking(pool);

	if (pool->dead)
		return;
	if (!policy->own && pool->waiting > pool->opening)
		wanted = Max(wanted, Max(policy->step, pool->waiting - pool->opening));
	if (policy->one_by_one)
		wanted = pool->opening > 0 ? 0 : Min(wanted, 1);
	for (; wanted > 0 && pool->total < policy->most; wanted--)
		pool_open(pool, NULL);
}

/* ---------- Lending ---------- */

/* With 2 of 3 threads the last one that they had comes first in HikariCP. */
static int
next_to_lend(const Pool *pool)
{
	int			first = 0;

	if (pool->policy->order == OLDEST_BACK)
		return 0;
	if (pool->policy->order == NEWEST_BACK || chance(0.67))
		return pool->nidle - 1;
	for (int i = 1; i < pool->nidle; i++)
		if (pool->idle[i]->opened_us < pool->idle[first]->opened_us)
			first = i;
	return first;
}

static Session *
pool_take(Pool *pool)
{
	Session    *session;

	if (pool->nidle == 0)
		return NULL;
	session = pool->idle[next_to_lend(pool)];
	pool_forget(pool, session);
	session->lent = true;
	return session;
}

/* Requests are served in the order in which they came, and give up in it; none leaves between. */
static void
line_leave(Pool *pool)
{
	pool->first = pool->first->next;
	if (pool->first == NULL)
		pool->last = NULL;
	pool->waiting--;
}

/* Has waited for too long. */
static void
job_give_up(void *what, int64 serial)
{
	Job		   *job = what;

	if (job->serial != (uint64) serial || job->ref.pid != 0 || job->pool->first != job)
		return;
	line_leave(job->pool);
	job->pool->busy--;
	job_end(job);
}

static void
line_join(Pool *pool, Job *job)
{
	job->next = NULL;
	if (pool->last != NULL)
		pool->last->next = job;
	else
		pool->first = job;
	pool->last = job;
	pool->waiting++;
	after(30 * SECOND, job_give_up, job, job->serial);
}

/* A connection that is free: for the first in line, or for later. */
static void
pool_serve(Pool *pool, Session *session)
{
	Job		   *job = pool->first;

	session->lent = job != NULL;
	if (job != NULL)
	{
		line_leave(pool);
		job_start(job, session);
	}
	else if (pool->nidle >= pool->policy->keep || pool->nidle >= POOL_MAX)
		pool_close(pool, session);
	else
		pool->idle[pool->nidle++] = session;
}

void
pool_give_back(Pool *pool, Session *session)
{
	if (session->evicted)
		pool_close(pool, session);
	else
		pool_serve(pool, session);
	pool_fill(pool);
}

void
pool_request(Pool *pool, const Shape *shape)
{
	Job		   *job = job_new(pool, shape);
	Session    *session;

	pool->busy++;
	session = pool_take(pool);
	if (session != NULL && pool->policy->lazily && session->expires_us < world.now_us)
	{
		pool_close(pool, session);
		pool_open(pool, job);
	}
	else if (session != NULL)
		job_start(job, session);
	else if (pool->policy->own && pool->total < pool->policy->most)
		pool_open(pool, job);
	else
	{
		line_join(pool, job);
		pool_fill(pool);
	}
}

/* ---------- A pool ---------- */

/* Closes what has been idle for too long, and fills up what is lacking. */
static void
keep_house(void *what, int64 arg)
{
	Pool	   *pool = what;
	const Policy *policy = pool->policy;
	uint64		idle_us = (uint64) (policy->idle_s * SECOND);
	int			closed = 0;

	if (pool->dead)
		return;
	after((uint64) (policy->house_s * SECOND), keep_house, pool, 0);
	for (int i = 0; policy->idle_s > 0 && i < pool->nidle; i++)
	{
		int			spare = policy->least_open ? pool->total : pool->nidle;

		if (spare <= policy->least || (policy->shrinks_slowly && closed > 0))
			break;
		if (world.now_us - pool->idle[i]->since_us < idle_us)
			continue;
		pool_close(pool, pool->idle[i--]);
		closed++;
	}
	pool_fill(pool);
}

Pool *
pool_new(const Policy *policy, Service *service, const char *what)
{
	Pool	   *pool = world_alloc(sizeof(Pool));

	*pool = (Pool) {.policy = policy, .service = service, .what = what};
	if (policy->house_s > 0)
		after((uint64) (uniform() * policy->house_s * SECOND), keep_house, pool, 0);
	pool_fill(pool);
	return pool;
}

/* The process ends, and with it all its connections. */
void
pool_kill(Pool *pool)
{
	pool->dead = true;
	pool->nidle = 0;
	for (int i = 0; i < world.nslots; i++)
		if (world.sessions[i].pid != 0 && world.sessions[i].pool == pool)
			session_close(&world.sessions[i]);
	pool->first = pool->last = NULL;
}

/* Its host hangs: the process does nothing any more, and its connections stay. */
void
pool_vanish(Pool *pool)
{
	pool->dead = true;
	pool->nidle = 0;
	for (int i = 0; i < world.nslots; i++)
	{
		Session    *session = &world.sessions[i];

		if (session->pid == 0 || session->pool != pool)
			continue;
		if (session->state != SLOT_IDLE)
			session_turn(session, SLOT_IDLE);
		session->vanished = true;
		session_leak(session, LEAK_ABANDONED);
	}
	pool->first = pool->last = NULL;
}

/*
 * jobs.c
 *		What is done with a connection, and how it is leaked.
 */
#include "pools.h"

Injection	injection;

static Job *free_jobs;
static uint64 last_serial;

void
jobs_begin(void)
{
	free_jobs = NULL;
	last_serial = 0;
	memset(&injection, 0, sizeof(injection));
}

Job *
job_new(Pool *pool, const Shape *shape)
{
	Job		   *job = free_jobs;

	if (job != NULL)
		free_jobs = job->next;
	else
		job = world_alloc(sizeof(Job));
	*job = (Job) {.pool = pool, .shape = shape, .serial = ++last_serial};
	return job;
}

void
job_end(Job *job)
{
	job->serial = 0;
	job->next = free_jobs;
	free_jobs = job;
}

static void job_statement(void *what, int64 arg);

static uint64
duration(double mean_ms)
{
	return 50 + around((uint64) (mean_ms * MS));
}

/* Takes a leak that is to happen, if one is. */
static void
job_tempt(Job *job)
{
	if (!job->pool->leaky)
		return;
	if (injection.abandoned > 0 && injection.abandoned--)
		job->leak = LEAK_ABANDONED;
	else if (injection.in_transaction > 0 && injection.in_transaction--)
		job->leak = LEAK_IDLE_IN_TRANSACTION;
	else if (injection.aborted > 0 && injection.aborted--)
	{
		job->leak = LEAK_IDLE_IN_TRANSACTION;
		job->abort = true;
	}
	else if (injection.dead > 0 && injection.dead--)
		job->leak = LEAK_DEAD_CLIENT;
	if (job->leak != LEAK_NONE)
		job->in_transaction = job->leak == LEAK_IDLE_IN_TRANSACTION;

	/* What it is, its client says. */
	if (job->pool->service->names_borrowers && (job->leak == LEAK_ABANDONED || (job->leak == LEAK_IDLE_IN_TRANSACTION && !job->abort)))
		job->leak = LEAK_BORROWED;
}

void
job_start(Job *job, Session *session)
{
	const Shape *shape = job->shape;

	session->lent = true;
	session->lent_at = world.now_us + world.clock_us;
	job->ref = session_ref(session);
	job->left = shape->least + below(shape->most - shape->least + 1);
	job->in_transaction = chance(shape->transactions);
	job->heavy = chance(shape->heavy);
	job->pool->served++;
	job_tempt(job);
	job->left += job->in_transaction;	/* the COMMIT */
	if (job->pool->policy->ping)
	{
		session_turn(session, SLOT_ACTIVE);
		session_turn(session, SLOT_IDLE);
	}
	after(duration(0.2), job_statement, job, 0);
}

static void
client_gone(void *what, int64 arg)
{
	Session    *session = session_of((Ref) {(int) (arg >> 32), (int) arg});

	if (session == NULL)
		return;
	session->client_gone = true;
	session_leak(session, LEAK_DEAD_CLIENT);
}

static void
statement_noticed(void *what, int64 arg)
{
	Session    *session = session_of((Ref) {(int) (arg >> 32), (int) arg});

	if (session != NULL)
		session_close(session);
}

/*
 * The client gives up on a long statement and closes its socket, which the server
 * notices when the statement is over.
 */
static void
job_die(Job *job, Session *session)
{
	Pool	   *pool = job->pool;
	int64		ref = ((int64) session_slot(session) << 32) | session->pid;

	session->pool = NULL;
	session_lose(session);
	pool->total--;
	pool->busy--;
	after((uint64) between(0, 90 * SECOND), client_gone, NULL, ref);
	after((uint64) between(3 * MINUTE, 30 * MINUTE), statement_noticed, NULL, ref);
	job_end(job);
	pool_fill(pool);
}

/* Never gives the connection back. */
static void
job_leak(Job *job, Session *session)
{
	Pool	   *pool = job->pool;

	session_turn(session, job->in_transaction ? SLOT_IDLE_IN_TRANSACTION : SLOT_IDLE);
	session->aborted = job->abort;
	session_leak(session, job->leak);
	pool->busy--;
	if (pool->policy->own_thread)
		pool->total--;
	job_end(job);
}

static void
job_pause(void *what, int64 arg)
{
	Job		   *job = what;
	Session    *session = session_of(job->ref);
	Pool	   *pool = job->pool;
	bool		over = --job->left <= 0;

	if (session == NULL || pool->dead)
		job_end(job);
	else if (job->leak != LEAK_NONE)
		job_leak(job, session);
	else if (!over)
	{
		session_turn(session, job->in_transaction ? SLOT_IDLE_IN_TRANSACTION : SLOT_IDLE);
		after(duration(job->left == 1 && job->in_transaction ? 0.5 : job->shape->gap_ms),
			  job_statement, job, 0);
	}
	else
	{
		session_turn(session, SLOT_IDLE);
		pool->busy--;
		job_end(job);
		pool_give_back(pool, session);
	}
}

static void
job_statement(void *what, int64 arg)
{
	Job		   *job = what;
	Session    *session = session_of(job->ref);
	double		mean_ms = job->shape->statement_ms * (job->heavy ? 50 : 1);

	if (session == NULL || job->pool->dead)
	{
		job_end(job);
		return;
	}
	session_turn(session, SLOT_ACTIVE);
	if (job->leak == LEAK_DEAD_CLIENT)
		job_die(job, session);
	else
		after(duration(job->left == 1 && job->in_transaction ? 1 : mean_ms), job_pause, job, 0);
}

/*
 * resolve.c
 *		Host name -> addresses, without blocking the loop.
 *
 * getaddrinfo() cannot be interrupted, so it runs in a thread: of our own,
 * for those of libuv are waited for at the end of the process, and a name
 * server that does not answer would keep that from ending.  The thread shares
 * nothing with the process but its job, which the last of the two threads that needs it
 * frees; and it gets no signal, for PostgreSQL's handlers are not for threads.
 */
#include "postgres.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "port/atomics.h"

#include "load/resolve.h"

/* Made by malloc(): palloc() is not for threads. */
typedef struct ResolveJob
{
	pg_atomic_uint32 needed_by; /* the thread, and the client that waits for it */
	int			fd;				/* readable when the thread is done */
	int			rc;				/* of getaddrinfo() */
	Addresses	addresses;
	char		host[NI_MAXHOST];
} ResolveJob;

static void
job_leave(ResolveJob *job)
{
	if (pg_atomic_sub_fetch_u32(&job->needed_by, 1) > 0)
		return;
	close(job->fd);
	free(job);
}

/*
 * Finds the addresses of a host by getaddrinfo(), which may block, with these
 * flags (AI_*).  Returns 0, or an error for gai_strerror().  For any thread.
 */
int
addresses_find(const char *host, int flags, Addresses *addresses)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
	struct addrinfo *found = NULL;
	int			rc = getaddrinfo(host, NULL, &hints, &found);

	addresses->n = 0;
	if (rc != 0)
		return rc;
	for (struct addrinfo *a = found; a != NULL && addresses->n < RESOLVE_ADDRESSES; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, addresses->text[addresses->n], ADDRESS_LEN,
						NULL, 0, NI_NUMERICHOST) == 0)
			addresses->n++;
	freeaddrinfo(found);
	return 0;
}

static void *
job_thread(void *arg)
{
	ResolveJob *job = arg;
	uint64		one = 1;

	job->rc = addresses_find(job->host, AI_ADDRCONFIG, &job->addresses);
	while (write(job->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
	job_leave(job);
	return NULL;
}

static bool
job_start(ResolveJob *job)
{
	sigset_t	all;
	sigset_t	before;
	pthread_attr_t attributes;
	pthread_t	thread;
	bool		started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, &attributes, job_thread, job) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return started;
}

static void
resolve_fail(Resolve *resolve, const char *why)
{
	resolve->done = resolve->failed = true;
	strlcpy(resolve->error, why, sizeof(resolve->error));
}

/* Takes what the job has found, and leaves it. */
static void
resolve_take(Resolve *resolve)
{
	ResolveJob *job = resolve->job;

	resolve->job = NULL;
	if (job->rc != 0)
		resolve_fail(resolve, gai_strerror(job->rc));
	else if (job->addresses.n == 0)
		resolve_fail(resolve, "it has no address");
	resolve->done = true;
	resolve->addresses = job->addresses;
	job_leave(job);
}

static void
resolve_ready(uv_poll_t *poll, int status, int events)
{
	uv_close((uv_handle_t *) poll, NULL);
	resolve_take(poll->data);
}

/* Resolves a numeric address at once; returns whether it is one. */
static bool
resolve_numeric(Resolve *resolve)
{
	ResolveJob *job = resolve->job;

	job->rc = addresses_find(job->host, AI_NUMERICHOST, &job->addresses);
	if (job->rc != 0)
		return false;
	pg_atomic_write_u32(&job->needed_by, 1);
	resolve_take(resolve);
	return true;
}

/*
 * Begins to resolve the addresses of a host, a name or an address.  "done"
 * shows the end while the loop turns, or at once; how long to wait for it is
 * up to the caller, which calls resolve_give_up() then.  Never throws.
 */
void
resolve_begin(Resolve *resolve, Loop *loop, const char *host)
{
	ResolveJob *job = calloc(1, sizeof(ResolveJob));

	memset(resolve, 0, sizeof(*resolve));
	if (job == NULL || strlen(host) >= sizeof(job->host) ||
		(job->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
	{
		resolve_fail(resolve, job == NULL ? "out of memory" :
					 strlen(host) >= sizeof(job->host) ? "the name is too long" : strerror(errno));
		free(job);
		return;
	}
	pg_atomic_init_u32(&job->needed_by, 2);
	strlcpy(job->host, host, sizeof(job->host));
	resolve->job = job;
	if (resolve_numeric(resolve))
		return;
	(void) uv_poll_init(&loop->uv, &resolve->poll, job->fd);	/* epoll takes any eventfd */
	resolve->poll.data = resolve;
	uv_poll_start(&resolve->poll, UV_READABLE, resolve_ready);
	if (job_start(job))
		return;
	pg_atomic_write_u32(&job->needed_by, 1);
	job->rc = EAI_MEMORY;
	resolve_ready(&resolve->poll, 0, 0);
}

/* Waits for it no longer.  May be called at any time. */
void
resolve_give_up(Resolve *resolve)
{
	if (resolve->job == NULL)
		return;
	uv_close((uv_handle_t *) &resolve->poll, NULL);
	job_leave(resolve->job);
	resolve->job = NULL;
	resolve_fail(resolve, "no answer in time");
}

/* Does libpq take that host for a unix socket, which has no address? */
bool
host_is_socket(const char *host)
{
	return host[0] == '/' || host[0] == '@';
}

/*
 * Waits for it no longer; returns how many addresses there are, and if there are none
 * says why in "failure".
 */
int
resolve_end(Resolve *resolve, const char *host, ConnectResult *failure)
{
	if (resolve->done && !resolve->failed && resolve->addresses.n > 0)
		return resolve->addresses.n;
	*failure = (ConnectResult) {CONNECT_BROKEN, CAUSE_NONE};
	snprintf(failure->message, MESSAGE_LEN, "host name \"%s\": %s", host,
			 resolve->failed ? resolve->error : "the name server does not answer");
	resolve_give_up(resolve);
	return 0;
}

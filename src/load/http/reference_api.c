/*
 * reference_api.c
 *		A small HTTP service over pools of the run, as it should be.
 *
 * A request that gets no connection in time is refused with 503, or with 429 where the
 * limit is the caller's own (cause.c says which), with Retry-After, and always
 * with the same JSON object.  What needs no connection never waits for one.  A
 * request that waits for the pool is suspended in libmicrohttpd, so it keeps
 * no other from being answered.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "base/releases.h"
#include "event/http_server.h"
#include "load/http/reference_api.h"

#define API_HOST			"127.0.0.1"
#define API_BACKLOG			1024
#define API_CLIENT_MEMORY	(8 * 1024)

/* FAULT_HTTP_RETRY_TOO_SOON: a client that returns within this, beyond Retry-After, is refused. */
#define TOO_SOON_US			(10 * INT64CONST(1000000))

/* A pool of the service, and how fast its connections come back. */
typedef struct ApiPool
{
	Pool	   *pool;
	Releases	releases;
	uint64		released;		/* counted there so far */
} ApiPool;

struct ReferenceApi
{
	ReferenceApiConfig config;
	HttpServer	server;
	char		url[64];
	ApiPool		work;
	ApiPool		limited;
	dlist_head	calls;
	bool		closing;
	bool		hung;			/* FAULT_HTTP_HANG has bitten */
	uint64		refused_us;		/* the last call was, then */
	MemoryContext context;
	StringInfoData body;
};

typedef enum CallState
{
	CALL_NEW,
	CALL_WAITING,				/* for the pool, or for the database */
	CALL_HUNG,					/* for ever */
	CALL_READY					/* its answer is known */
} CallState;

/* One HTTP request.  It outlives its connection while it waits. */
typedef struct Call
{
	Request		request;		/* must be first */
	ReferenceApi *api;
	ApiPool    *from;
	struct MHD_Connection *connection;	/* NULL: it has gone */
	CallState	state;
	bool		asking;			/* the pool is just being asked */
	int			status;
	int			retry_after_s;
	const char *error;			/* a word; NULL: there is none */
	const char *message;
	dlist_node	node;
} Call;

static bool
api_fault(const ReferenceApi *api, Fault fault)
{
	return api->config.fault == fault;
}

/* When to come back: what the releases say, or after another pool timeout. */
static int
api_retry_after_s(ApiPool *from, int timeout_ms)
{
	uint64		now_us = loop_now_us();
	PoolState	truth;
	int			seconds;

	pool_read_state(from->pool, &truth);
	releases_add(&from->releases, (int) (from->pool->stats.released - from->released), now_us);
	from->released = from->pool->stats.released;
	seconds = releases_retry_after_s(&from->releases, truth.waiting, now_us);
	return seconds > 0 ? seconds : (timeout_ms + 999) / 1000;
}

/* ---------- Calls ---------- */

static void
call_free(Call *call)
{
	dlist_delete(&call->node);
	pfree(call);
}

/* It waits no longer; libmicrohttpd asks for the answer soon. */
static void
call_go_on(Call *call)
{
	call->state = CALL_READY;
	if (call->connection == NULL)
		call_free(call);
	else if (!call->api->closing)
	{
		MHD_resume_connection(call->connection);
		http_server_wake(&call->api->server);
	}
}

static void
call_done(Call *call)
{
	call->status = MHD_HTTP_OK;
	call_go_on(call);
}

/* No connection, for that reason; both texts are constants. */
static void
call_refuse(Call *call, int status, const char *error, const char *message)
{
	ReferenceApi *api = call->api;

	call->error = error;
	call->message = message;
	call->status = api_fault(api, FAULT_HTTP_500) ? MHD_HTTP_INTERNAL_SERVER_ERROR : status;
	call->retry_after_s = api_fault(api, FAULT_HTTP_NO_RETRY_AFTER) ? 0
		: api_retry_after_s(call->from, api->config.timeout_ms);
	api->refused_us = loop_now_us();
	if (api_fault(api, FAULT_HTTP_HANG) && !api->hung)
	{
		api->hung = true;
		call->state = CALL_HUNG;
		return;
	}
	call_go_on(call);
}

/* A full queue, or the server that refused the login: the former is said at once. */
static void
call_refused(Call *call)
{
	Cause		cause = call->from->pool->last_refusal.cause;

	if (call->asking)
		call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "queue_full", "too many requests wait already");
	else
		call_refuse(call, cause_kinds[cause].http_status, cause_kinds[cause].name,
					   "the database refused the login: connection limit reached");
}

static void
call_answered(void *arg, const QueryResult *result)
{
	Call	   *call = arg;

	pool_release(&call->request);
	if (result->ok)
		call_done(call);
	else
		call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "query_failed", "the database did not do it");
}

static void
call_ended(Request *request, AcquireEnd end)
{
	Call	   *call = (Call *) request;

	switch (end)
	{
		case ACQUIRE_GRANTED:
			session_query(request->session, call->api->config.sql, 0, call_answered, call);
			break;
		case ACQUIRE_TIMED_OUT:
			call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "pool_timeout", "no connection came free in time");
			break;
		case ACQUIRE_REFUSED:
			call_refused(call);
			break;
		case ACQUIRE_FAILED:
			call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "no_connection", "the database cannot be reached");
			break;
		case ACQUIRE_CANCELED:
			call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting_down", "the service ends");
			break;
	}
}

static void
call_lost(Request *request)
{
	Call	   *call = (Call *) request;

	pool_release(request);
	call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "connection_lost", "the database has ended the connection");
}

static const RequestEvents call_events = {
	.ended = call_ended,
	.lost = call_lost,
};

/* It gets its answer when the pool, and then the database, has one. */
static void
call_ask(Call *call, ApiPool *from)
{
	ReferenceApi *api = call->api;

	call->from = from;
	call->state = CALL_WAITING;
	call->request.events = &call_events;
	MHD_suspend_connection(call->connection);
	if (api_fault(api, FAULT_HTTP_RETRY_TOO_SOON) && api->refused_us != 0 &&
		loop_now_us() < api->refused_us + TOO_SOON_US)
	{
		call_refuse(call, MHD_HTTP_SERVICE_UNAVAILABLE, "too_soon", "not yet");
		return;
	}
	call->asking = true;
	pool_acquire(from->pool, &call->request);
	call->asking = false;
}

/* ---------- Pages ---------- */

static void
answer_work(Call *call)
{
	call_ask(call, &call->api->work);
}

static void
answer_limited(Call *call)
{
	call_ask(call, &call->api->limited);
}

static void
answer_other(Call *call)
{
	call->state = CALL_READY;
	call->status = MHD_HTTP_OK;
}

static void
answer_livez(Call *call)
{
	PoolState	truth;

	answer_other(call);
	pool_read_state(call->api->work.pool, &truth);
	if (api_fault(call->api, FAULT_LIVENESS_DOWN) && truth.in_use >= truth.capacity)
	{
		call->status = MHD_HTTP_SERVICE_UNAVAILABLE;
		call->error = "down";
		call->message = "no connection is free";
	}
}

static const struct
{
	const char *path;
	void		(*answer) (Call *call);
}			pages[] = {
	{API_WORK, answer_work},
	{API_LIMITED, answer_limited},
	{API_OTHER, answer_other},
	{API_LIVEZ, answer_livez},
};

static void
call_route(Call *call, const char *method, const char *path)
{
	call->state = CALL_READY;
	call->status = MHD_HTTP_NOT_FOUND;
	call->error = "not_found";
	call->message = "there are " API_WORK ", " API_LIMITED ", " API_OTHER " and " API_LIVEZ;
	for (int i = 0; i < lengthof(pages); i++)
	{
		if (strcmp(pages[i].path, path) != 0)
			continue;
		if (strcmp(method, MHD_HTTP_METHOD_GET) == 0)
		{
			call->error = NULL;
			pages[i].answer(call);
			return;
		}
		call->status = MHD_HTTP_METHOD_NOT_ALLOWED;
		call->error = "method_not_allowed";
		call->message = "only GET is answered";
	}
}

static enum MHD_Result
call_answer(Call *call)
{
	ReferenceApi *api = call->api;
	char		retry_after[16] = "null";
	HttpResponse answer = {.status = call->status, .retry_after_s = call->retry_after_s,
	.content_type = "application/json", .body = &api->body};

	if (call->retry_after_s > 0)
		snprintf(retry_after, sizeof(retry_after), "%d", call->retry_after_s);
	resetStringInfo(&api->body);
	if (call->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		answer.allow = MHD_HTTP_METHOD_GET;
	if (call->error == NULL)
		appendStringInfoString(&api->body, "{\"status\": \"ok\"}\n");
	else if (api_fault(api, FAULT_HTTP_HTML_ERROR))
	{
		answer.content_type = "text/html";
		appendStringInfo(&api->body, "<!doctype html><h1>%s</h1><p>%s\n", call->error, call->message);
	}
	else
		appendStringInfo(&api->body, "{\"error\": \"%s\", \"message\": \"%s\", \"retry_after_s\": %s}\n",
						 call->error, call->message, retry_after);
	return http_server_respond(call->connection, &answer);
}

/* ---------- The server ---------- */

/*
 * Called when the headers are there, then for the body, which is not read, and
 * for its end; and again when a call that had to wait goes on.
 */
static enum MHD_Result
api_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
			const char *version, const char *upload, size_t *upload_size, void **request)
{
	ReferenceApi *api = arg;
	Call	   *call = *request;

	if (call == NULL)
	{
		call = MemoryContextAllocExtended(api->context, sizeof(Call),
										  MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
		if (call == NULL)
			return MHD_NO;
		call->api = api;
		call->connection = connection;
		dlist_push_tail(&api->calls, &call->node);
		*request = call;
		return MHD_YES;
	}
	if (*upload_size > 0)
	{
		*upload_size = 0;
		return MHD_YES;
	}
	if (call->state == CALL_NEW)
	{
		call_route(call, method, path);
		if (call->from != NULL)
			return MHD_YES;		/* suspended, even if it need not wait any more */
	}
	return call->state == CALL_READY ? call_answer(call) : MHD_YES;
}

static void
api_completed(void *arg, struct MHD_Connection *connection, void **request,
			  enum MHD_RequestTerminationCode code)
{
	Call	   *call = *request;

	if (call == NULL)
		return;
	call->connection = NULL;
	if (call->state != CALL_WAITING)
		call_free(call);
	*request = NULL;
}

static void
api_pool_begin(ApiPool *from, Pool *pool)
{
	from->pool = pool;
	from->released = pool->stats.released;
	releases_begin(&from->releases, loop_now_us());
}

static void
api_find_url(ReferenceApi *api, int fd)
{
	struct sockaddr_in address = {0};
	socklen_t	length = sizeof(address);

	(void) getsockname(fd, (struct sockaddr *) &address, &length);
	snprintf(api->url, sizeof(api->url), "http://" API_HOST ":%d", ntohs(address.sin_port));
}

/*
 * Serves on a port of the loopback that the kernel chooses.  ERROR if that is not
 * possible.  The service lives in the current memory context, which must outlive
 * the loop and the pools.
 */
ReferenceApi *
reference_api_open(const ReferenceApiConfig *config)
{
	ReferenceApi *api = palloc0(sizeof(ReferenceApi));
	struct MHD_OptionItem options[] = {
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, API_CLIENT_MEMORY, NULL},
		{MHD_OPTION_NOTIFY_COMPLETED, (intptr_t) api_completed, NULL},
		{MHD_OPTION_END, 0, NULL}
	};
	HttpServerError error;
	int			fd;

	api->config = *config;
	api->context = CurrentMemoryContext;
	dlist_init(&api->calls);
	initStringInfo(&api->body);
	api_pool_begin(&api->work, config->pool);
	api_pool_begin(&api->limited, config->limited);
	fd = http_server_listen(API_HOST, 0, API_BACKLOG, &error);
	if (fd >= 0)
		api_find_url(api, fd);
	if (fd < 0 || !http_server_start(&api->server, config->loop, fd, config->clients_max, MHD_ALLOW_SUSPEND_RESUME,
									 api_request, api, options, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not serve the reference API: could not %s: %s", error.what, error.why)));
	return api;
}

/* "http://127.0.0.1:40123"; lives as long as the service. */
const char *
reference_api_url(const ReferenceApi *api)
{
	return api->url;
}

/*
 * Ends all connections at once; what waits for the pools is answered no more, and
 * gives back what it gets.  May be called at any time but from within the loop,
 * twice, and with NULL.
 */
void
reference_api_close(ReferenceApi *api)
{
	dlist_iter	iter;

	if (api == NULL || api->closing)
		return;
	api->closing = true;

	/* libmicrohttpd insists on it. */
	dlist_foreach(iter, &api->calls)
	{
		Call	   *call = dlist_container(Call, node, iter.cur);

		if (call->state == CALL_WAITING || call->state == CALL_HUNG)
			MHD_resume_connection(call->connection);
	}
	http_server_stop(&api->server);
}

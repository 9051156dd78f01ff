/*
 * http_client.c
 *		An HTTP client on the loop: libcurl's multi interface.
 *
 * libcurl says which sockets to watch and when to be called again, libuv does
 * it.  Each request has a connection of its own, follows no redirect, goes to
 * the addresses that the host had when the client was opened, and is bounded in
 * time, headers and body.  Nothing of it comes from the environment.
 *
 * What runs inside the loop never throws; a request's end shows in the request.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "base/address.h"
#include "load/http/http_client.h"
#include "load/http/http_reply.h"

#define USER_AGENT		"pool_exhaust/" EXTVERSION

/* What a program that wants to know says that it can read. */
#define ACCEPT_HEADER	"Accept: application/json, */*;q=0.5"

/* How libuv watches one of curl's sockets. */
typedef struct Watch
{
	uv_poll_t	poll;			/* must be first */
	HttpClient *client;
	curl_socket_t fd;
} Watch;

struct HttpClient
{
	Loop	   *loop;
	const HttpTarget *target;
	CURLM	   *multi;
	uv_timer_t	timer;			/* curl wants to be called then */
	Resolve		resolve;
	char	   *host;			/* these two of the URL, by curl_free() */
	char	   *port;
	bool		tls;
	char	   *base;			/* the URL without slashes at its end */
	struct curl_slist *addresses;
	struct curl_slist *headers;
	dlist_head	requests;		/* under way */
	dlist_head	ended;			/* and not taken yet */
	MemoryContext context;
};

/* Lets go of a request that is under way. */
static void
request_leave(HttpClient *client, HttpRequest *request)
{
	dlist_delete(&request->node);
	request->under_way = false;
	curl_multi_remove_handle(client->multi, request->easy);
	curl_easy_cleanup(request->easy);
	request->easy = NULL;
}

/* ---------- libcurl on libuv ---------- */

static void
client_collect(HttpClient *client)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
	{
		HttpRequest *request = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
		http_reply_finish(request, message->data.result, client->tls);
		request_leave(client, request);
		dlist_push_tail(&client->ended, &request->node);
	}
}

static void
watch_ready(uv_poll_t *poll, int status, int events)
{
	Watch	   *watch = (Watch *) poll;
	HttpClient *client = watch->client;
	int			flags = status < 0 ? CURL_CSELECT_ERR : 0;
	int			running;

	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(client->multi, watch->fd, flags, &running);
	client_collect(client);
}

static void
watch_free(uv_handle_t *handle)
{
	pfree(handle);
}

/* CURLMOPT_SOCKETFUNCTION: "what" curl waits for on this socket. */
static int
client_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	HttpClient *client = arg;
	Watch	   *watch = socket_arg;

	if (what == CURL_POLL_REMOVE)
	{
		if (watch != NULL)
			uv_close((uv_handle_t *) &watch->poll, watch_free);
		curl_multi_assign(client->multi, fd, NULL);
		return 0;
	}
	if (watch == NULL)
	{
		watch = MemoryContextAllocExtended(client->context, sizeof(Watch), MCXT_ALLOC_NO_OOM);
		if (watch == NULL)
			return -1;
		if (uv_poll_init(&client->loop->uv, &watch->poll, fd) != 0)
		{
			pfree(watch);
			return -1;
		}
		watch->client = client;
		watch->fd = fd;
		curl_multi_assign(client->multi, fd, watch);
	}
	uv_poll_start(&watch->poll,
				  (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
				  watch_ready);
	return 0;
}

static void
timer_fired(uv_timer_t *timer)
{
	HttpClient *client = timer->data;
	int			running;

	curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	client_collect(client);
}

/* CURLMOPT_TIMERFUNCTION: curl wants to be called then; -1 = no more. */
static int
client_time(CURLM *multi, long timeout_ms, void *arg)
{
	HttpClient *client = arg;

	uv_update_time(&client->loop->uv);
	if (timeout_ms < 0)
		uv_timer_stop(&client->timer);
	else
		uv_timer_start(&client->timer, timer_fired, timeout_ms, 0);
	return 0;
}

/* ---------- The client ---------- */

static void
client_set_addresses(HttpClient *client)
{
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfo(&list, "*:%s:", client->port);
	for (int i = 0; i < client->resolve.addresses.n; i++)
	{
		const char *address = client->resolve.addresses.text[i];

		appendStringInfo(&list, strchr(address, ':') != NULL ? "%s[%s]" : "%s%s",
						 i > 0 ? "," : "", address);
	}
	client->addresses = curl_slist_append(NULL, list.data);
	pfree(list.data);
}

/*
 * Opens a client of the service and begins to resolve its addresses; it can be
 * asked when http_client_ready() says so.  ERROR if the URL is wrong or there is
 * no memory.  The client lives in the current memory context, which must outlive
 * the loop; http_client_close() lets go of what is not memory.
 */
HttpClient *
http_client_open(Loop *loop, const HttpTarget *target)
{
	HttpClient *client = palloc0(sizeof(HttpClient));

	client->loop = loop;
	client->target = target;
	client->context = CurrentMemoryContext;
	dlist_init(&client->requests);
	dlist_init(&client->ended);
	http_url_parse(target->url, &client->tls, &client->host, &client->port);
	client->base = pstrdup(target->url);
	for (int n = strlen(client->base); client->base[n - 1] == '/'; n--)
		client->base[n - 1] = '\0';
	client->multi = curl_multi_init();
	client->headers = curl_slist_append(NULL, ACCEPT_HEADER);
	if (client->multi == NULL || client->headers == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not open an HTTP client: out of memory")));
	uv_timer_init(&loop->uv, &client->timer);
	client->timer.data = client;
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, client_watch);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, client_time);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);

	/* curl keeps the brackets of an IPv6 address. */
	if (client->host[0] == '[')
		resolve_begin(&client->resolve, loop, pnstrdup(client->host + 1, strlen(client->host) - 2));
	else
		resolve_begin(&client->resolve, loop, client->host);
	return client;
}

/* Returns whether the addresses of the service are known. */
bool
http_client_ready(HttpClient *client)
{
	if (!client->resolve.done || client->resolve.failed)
		return false;
	if (client->addresses == NULL)
		client_set_addresses(client);
	return client->addresses != NULL;
}

/* Why it will never be ready; NULL while it may. */
const char *
http_client_error(const HttpClient *client)
{
	return client->resolve.failed ? client->resolve.error : NULL;
}

/*
 * Returns the first of the addresses, which are those that it connects to, that
 * the target may not be at, and what that is; NULL if there is none.  To be called
 * when the client is ready, before anything is asked.
 */
const char *
http_client_forbidden(const HttpClient *client, const char **what)
{
	const Addresses *addresses = &client->resolve.addresses;

	for (int i = 0; i < addresses->n && !client->target->anywhere; i++)
		if ((*what = address_restricted(addresses->text[i])) != NULL)
			return addresses->text[i];
	return NULL;
}

/* libcurl resolves nothing by itself: it would do so in a thread that gets our signals. */
static int
refuse_to_resolve(void *state, void *reserved, void *arg)
{
	return 1;
}

static void
request_set_up(HttpClient *client, HttpRequest *request, const char *url, int timeout_ms)
{
	const HttpTarget *target = client->target;
	CURL	   *easy = request->easy;

	http_reply_begin(request);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_RESOLVE, client->addresses);
	curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, refuse_to_resolve);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) timeout_ms);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client->headers);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (target->sslrootcert != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_CAINFO, target->sslrootcert);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (target->user != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
		curl_easy_setopt(easy, CURLOPT_USERNAME, target->user);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, target->password != NULL ? target->password : "");
	}
}

/*
 * Sends GET for that path, from the root of the service's URL, to a client that
 * is ready.  It ends while the loop turns, at the latest after timeout_ms, and then
 * waits for http_client_take(); it must last until then, or http_client_close().
 * Not to be called from within the loop.
 */
void
http_ask(HttpClient *client, HttpRequest *request, const char *path, int timeout_ms)
{
	char	   *url = psprintf("%s%s%s", client->base, path[0] == '/' ? "" : "/", path);

	Assert(!request->under_way);
	memset(&request->reply, 0, offsetof(HttpReply, body));
	request->error[0] = '\0';
	request->cut_off = HTTP_ANSWERED;
	request->header_bytes = 0;
	request->connected = false;
	request->asked_us = loop_now_us();
	request->easy = curl_easy_init();
	if (request->easy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not make an HTTP request: out of memory")));
	request_set_up(client, request, url, timeout_ms);
	pfree(url);
	request->under_way = true;
	dlist_push_tail(&client->requests, &request->node);
	curl_multi_add_handle(client->multi, request->easy);
}

/* Returns a request that has ended, each once and the first first; NULL: there is none. */
HttpRequest *
http_client_take(HttpClient *client)
{
	if (dlist_is_empty(&client->ended))
		return NULL;
	return dlist_container(HttpRequest, node, dlist_pop_head_node(&client->ended));
}

/*
 * Lets go of everything, requests under way included; those do not end any more.
 * What libuv still has to do is done when the loop turns or is closed.  May be
 * called at any time but from within the loop, and with NULL.
 */
void
http_client_close(HttpClient *client)
{
	if (client == NULL || client->multi == NULL)
		return;
	while (!dlist_is_empty(&client->requests))
		request_leave(client, dlist_head_element(HttpRequest, node, &client->requests));
	curl_multi_cleanup(client->multi);
	client->multi = NULL;
	uv_close((uv_handle_t *) &client->timer, NULL);
	resolve_give_up(&client->resolve);
	curl_slist_free_all(client->addresses);
	curl_slist_free_all(client->headers);
	curl_free(client->host);
	curl_free(client->port);
}

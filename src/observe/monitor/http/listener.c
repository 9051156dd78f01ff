/*
 * listener.c
 *		Answers over HTTP, without a slot: libmicrohttpd on the monitor's loop.
 *
 * http_server.c speaks HTTP; what is here is when it does, and which
 * connections are closed when there are too many: those that have been quiet for
 * longest, so that a flood of idle ones does not keep others out.
 */
#include "postgres.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/ilist.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/address.h"
#include "observe/monitor/http/listener.h"
#include "observe/monitor/http/openmetrics.h"
#include "observe/monitor/http/page.h"

/* Connections at once; fewer where the process may have few descriptors. */
#define CLIENTS_MAX			256
#define CLIENTS_MIN			4

/* A client has this long for one request after the other. */
#define QUIET_MAX_US		(30 * INT64CONST(1000000))
#define QUIET_CHECK_MS		5000

/* A port that is taken may come free. */
#define RETRY_MS			2000

#define BACKLOG				128
#define CLIENT_MEMORY		(16 * 1024) /* for one request and its headers */

typedef struct Client
{
	dlist_node	node;			/* in clients, the quietest first */
	int			fd;
	uint64		heard_us;		/* connected, or last answered */
} Client;

static int	http_port = 0;
static char *http_host;

static Loop *http_loop;
static void (*http_refresh) (void);
static HttpServer server;
static int	server_port;		/* what the server was started with */
static char *server_host;
static bool server_is_local;	/* it listens on loopback alone */
static char *complaint;			/* last logged, to log it once */
static uv_timer_t quiet_timer;
static uv_timer_t retry_timer;
static dlist_head clients = DLIST_STATIC_INIT(clients);
static int	nclients;
static int	clients_max;
static MemoryContext page_context;

void
http_gucs_init(void)
{
	DefineCustomIntVariable("pool_exhaust.http_port",
							"Port on which the monitor answers over HTTP.",
							"0 turns that off.",
							&http_port, 0, 0, 65535,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pool_exhaust.http_host",
							   "Address on which the monitor answers over HTTP: IPv4 or IPv6.",
							   "There is no authentication; 127.0.0.1 is for this machine alone.",
							   &http_host, "127.0.0.1",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* ---------- Clients ---------- */

static void
client_heard(Client *client)
{
	client->heard_us = loop_now_us();
	dlist_move_tail(&clients, &client->node);
}

/* libmicrohttpd sees the end of the connection, and lets go of it. */
static void
client_end(Client *client)
{
	shutdown(client->fd, SHUT_RDWR);
	client_heard(client);
}

static void
http_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
				enum MHD_ConnectionNotificationCode code)
{
	Client	   *client = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
	{
		dlist_delete(&client->node);
		pfree(client);
		nclients--;
		return;
	}
	/* From three quarters on each new one makes the quietest one go. */
	if (nclients >= clients_max * 3 / 4)
		client_end(dlist_head_element(Client, node, &clients));
	client = MemoryContextAllocZero(TopMemoryContext, sizeof(Client));
	client->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	client->heard_us = loop_now_us();
	dlist_push_tail(&clients, &client->node);
	nclients++;
	*socket_context = client;
}

/*
 * A client that said good-bye in the same breath as its request may stay: an
 * edge-triggered epoll, as libmicrohttpd has it, does not report it again.
 */
static bool
client_is_gone(const Client *client)
{
	char		byte;

	return recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A client that sends a byte now and then is quiet too: only whole requests count. */
static void
quiet_timer_fired(uv_timer_t *timer)
{
	dlist_mutable_iter iter;
	int			left = nclients;	/* those that end move to the tail */

	dlist_foreach_modify(iter, &clients)
	{
		Client	   *client = dlist_container(Client, node, iter.cur);

		if (left-- == 0)
			break;
		if (loop_now_us() >= client->heard_us + QUIET_MAX_US || client_is_gone(client))
			client_end(client);
	}
}

/* ---------- Requests ---------- */

/*
 * Where only this machine can ask, may this client?  A page in a browser here can be
 * given a name that leads to loopback; the browser sends that name as Host.  A
 * client that sends none is no browser.
 */
static bool
host_is_right(struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);

	return !server_is_local || host == NULL || host_is_loopback(host);
}

/*
 * Called when the headers of a request are there, and again for its body and
 * for its end.  A body is not read; a request that may have none is answered at
 * its end, so that the connection can be used again.
 */
static enum MHD_Result
http_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
			 const char *version, const char *upload, size_t *upload_size, void **request)
{
	static char seen;
	HttpResponse answer = {0};
	PageRequest asked = {
		.method = method,
		.path = url,
		.accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT),
		.refresh = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "refresh"),
		.format = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "format"),
		.at = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "at"),
	};
	MemoryContext old;
	enum MHD_Result result;

	if (*request == NULL && (strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
							 strcmp(method, MHD_HTTP_METHOD_HEAD) == 0))
	{
		*request = &seen;
		return MHD_YES;
	}
	if (*upload_size > 0)
	{
		*upload_size = 0;
		return MHD_YES;
	}
	client_heard(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);

	MemoryContextReset(page_context);
	old = MemoryContextSwitchTo(page_context);
	http_refresh();
	answer.body = makeStringInfo();
	if (host_is_right(connection))
		page_request(&answer, &asked);
	else
		page_error(&answer, 403, "Host is neither localhost nor a loopback address, and pool_exhaust.http_host is one");
	openmetrics_count_response(answer.status);
	result = http_server_respond(connection, &answer);
	MemoryContextSwitchTo(old);
	return result;
}

/* ---------- The server ---------- */

/* Keeps a copy of the text in place of the one before; NULL: none. */
static void
keep(char **kept, const char *text)
{
	if (*kept != NULL)
		pfree(*kept);
	*kept = text != NULL ? MemoryContextStrdup(TopMemoryContext, text) : NULL;
}

/* Logs why there is no HTTP, unless it is for the same reason as before. */
static void
http_complain(const char *what, const char *why)
{
	char	   *text = psprintf("on address \"%s\", port %d: could not %s: %s",
								http_host, http_port, what, why);

	if (complaint == NULL || strcmp(complaint, text) != 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pool_exhaust cannot answer over HTTP %s", text),
				 errhint("It tries again; change pool_exhaust.http_host or pool_exhaust.http_port and reload if that does not help.")));
	keep(&complaint, text);
	pfree(text);
}

/* Not to be called from within the loop. */
static void
http_stop(void)
{
	uv_timer_stop(&quiet_timer);
	http_server_stop(&server);
	uv_run(&http_loop->uv, UV_RUN_NOWAIT);	/* ends that, so that it can be started again */
	ereport(LOG, (errmsg("pool_exhaust does not answer over HTTP any more")));
}

/* Clients may have a quarter of the descriptors, for the monitor needs some itself. */
static int
clients_affordable(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return CLIENTS_MAX;
	return (int) Min(Max(limit.rlim_cur / 4, CLIENTS_MIN), CLIENTS_MAX);
}

static bool
listens_on_loopback(int fd)
{
	struct sockaddr_storage address;
	socklen_t	length = sizeof(address);

	return getsockname(fd, (struct sockaddr *) &address, &length) == 0 &&
		address_is_loopback(&address);
}

static void
http_start(void)
{
	struct MHD_OptionItem options[] = {
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, CLIENT_MEMORY, NULL},
		{MHD_OPTION_NOTIFY_CONNECTION, (intptr_t) http_connection, NULL},
		{MHD_OPTION_END, 0, NULL}
	};
	HttpServerError error;
	int			fd = http_server_listen(http_host, http_port, BACKLOG, &error);

	clients_max = clients_affordable();
	server_is_local = fd >= 0 && listens_on_loopback(fd);
	if (fd < 0 || !http_server_start(&server, http_loop, fd, clients_max, 0, http_request, NULL,
									 options, &error))
	{
		http_complain(error.what, error.why);
		return;
	}
	uv_timer_start(&quiet_timer, quiet_timer_fired, QUIET_CHECK_MS, QUIET_CHECK_MS);

	server_port = http_port;
	keep(&server_host, http_host);
	keep(&complaint, NULL);		/* what is wrong from now on is news */
	ereport(LOG,
			(errmsg("pool_exhaust answers over HTTP on address \"%s\", port %d",
					http_host, http_port)));
}

static void
retry_timer_fired(uv_timer_t *timer)
{
	if (server.daemon == NULL)
		http_start();
	if (server.daemon != NULL)
		uv_timer_stop(&retry_timer);
}

/*
 * To be called once, when the loop is open.  "refresh" is called before each
 * answer.
 */
void
http_init(Loop *loop, void (*refresh) (void))
{
	http_loop = loop;
	http_refresh = refresh;
	page_context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust answer",
										 ALLOCSET_DEFAULT_SIZES);
	uv_timer_init(&loop->uv, &quiet_timer);
	uv_timer_init(&loop->uv, &retry_timer);
}

/* Answers, or does not, as the settings say now. */
void
http_configure(bool on)
{
	bool		wanted = on && http_port != 0;

	if (server.daemon != NULL &&
		(!wanted || server_port != http_port || strcmp(server_host, http_host) != 0))
		http_stop();
	uv_timer_stop(&retry_timer);
	if (!wanted)
		keep(&complaint, NULL);
	if (!wanted || server.daemon != NULL)
		return;
	http_start();
	if (server.daemon == NULL)
		uv_timer_start(&retry_timer, retry_timer_fired, RETRY_MS, RETRY_MS);
}

/*
 * http_server.c
 *		libmicrohttpd on the loop.
 *
 * It runs without a thread: its epoll descriptor is watched by the loop, and it
 * works when that has something for it.  Connections are accepted here: where
 * descriptors run out, libmicrohttpd would stop to accept and not begin again, or
 * try without a pause.
 */
#include "postgres.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event/http_server.h"

/* So many connections are accepted before others are served again. */
#define ACCEPT_MAX			16

/* Where descriptors ran out, it tries again after this long ... */
#define STARVED_MS			100
/* ... and logs it no more often than that. */
#define STARVED_LOG_US		(60 * INT64CONST(1000000))

static int
server_fail(HttpServerError *error, const char *what, const char *why)
{
	error->what = what;
	error->why = why;
	return -1;
}

/*
 * Returns a listening socket, or -1 and why there is none.  Port 0 is for one
 * that the kernel chooses.  Names are not resolved: that could take long.
 */
int
http_server_listen(const char *host, int port, int backlog, HttpServerError *error)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
	.ai_socktype = SOCK_STREAM};
	struct addrinfo *address;
	char		service[16];
	int			one = 1;
	int			fd;
	int			rc;

	snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, service, &hints, &address);
	if (rc != 0)
		return server_fail(error, "use the address", gai_strerror(rc));
	fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		server_fail(error, "make a socket", strerror(errno));
	else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
			 bind(fd, address->ai_addr, address->ai_addrlen) != 0 ||
			 listen(fd, backlog) != 0)
	{
		server_fail(error, "listen", strerror(errno));
		close(fd);
		fd = -1;
	}
	freeaddrinfo(address);
	return fd;
}

/* ---------- libmicrohttpd on libuv ---------- */

static int
server_clients(const HttpServer *server)
{
	return MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

static void server_arrivals_ready(uv_poll_t *poll, int status, int events);

/* Accepts connections while there is room for them. */
static void
server_watch_arrivals(HttpServer *server)
{
	bool		room = server_clients(server) < server->clients_max &&
		!uv_is_active((uv_handle_t *) &server->starved_timer);

	if (!room)
		uv_poll_stop(&server->arrivals);
	else if (!uv_is_active((uv_handle_t *) &server->arrivals))
		uv_poll_start(&server->arrivals, UV_READABLE, server_arrivals_ready);
}

static void
server_starved_timer_fired(uv_timer_t *timer)
{
	server_watch_arrivals(timer->data);
}

/* Returns whether the error says that descriptors or memory ran out, now or for all processes. */
static bool
is_starved(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void
server_starve(HttpServer *server)
{
	uint64		now_us = loop_now_us();

	if (server->starved_us == 0 || now_us >= server->starved_us + STARVED_LOG_US)
	{
		ereport(LOG,
				(errmsg("pool_exhaust could not accept an HTTP connection: %m"),
				 errdetail("%d HTTP connections are open.", server_clients(server)),
				 errhint("It tries again; raise the limit of open files (ulimit -n) if this comes again.")));
		server->starved_us = now_us;
	}
	uv_timer_start(&server->starved_timer, server_starved_timer_fired, STARVED_MS, 0);
}

/*
 * Newer libmicrohttpd (1.0) puts connections into a queue until it runs, and does not
 * count those: what there is room for is known before the first.
 */
static void
server_accept(HttpServer *server)
{
	int			room = Min(ACCEPT_MAX, server->clients_max - server_clients(server));

	for (int i = 0; i < room; i++)
	{
		struct sockaddr_storage address;
		socklen_t	length = sizeof(address);
		int			fd = accept4(server->listen_fd, (struct sockaddr *) &address, &length,
								 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
		{
			if (is_starved(errno))
				server_starve(server);
			return;
		}
		MHD_add_connection(server->daemon, fd, (struct sockaddr *) &address, length);
	}
}

static void server_work(HttpServer *server);

static void
server_arrivals_ready(uv_poll_t *poll, int status, int events)
{
	server_accept(poll->data);
	server_work(poll->data);
}

static void
server_poll_ready(uv_poll_t *poll, int status, int events)
{
	server_work(poll->data);
}

static void
server_timer_fired(uv_timer_t *timer)
{
	server_work(timer->data);
}

/* Lets libmicrohttpd do what there is to do, and asks when it wants to again. */
static void
server_work(HttpServer *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	server->woken = false;
	MHD_run(server->daemon);
	if (server->woken)
		uv_timer_start(&server->timer, server_timer_fired, 0, 0);
	else if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&server->timer, server_timer_fired, timeout_ms, 0);
	else
		uv_timer_stop(&server->timer);
	server_watch_arrivals(server);
}

static void server_log(void *arg, const char *fmt, va_list args) pg_attribute_printf(2, 0);

static void
server_log(void *arg, const char *fmt, va_list args)
{
	char		message[256];

	vsnprintf(message, sizeof(message), fmt, args);
	elog(DEBUG1, "pool_exhaust: libmicrohttpd: %s", message);
}

/* libmicrohttpd would abort(), and the whole server would restart. */
static void
server_panic(void *arg, const char *file, unsigned int line, const char *reason)
{
	elog(FATAL, "libmicrohttpd: %s", reason != NULL ? reason : "internal error");
}

/* Lets the loop watch what libmicrohttpd waits for, and arrivals. */
static bool
server_watch(HttpServer *server, Loop *loop, HttpServerError *error)
{
	int			fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	int			rc = uv_poll_init(&loop->uv, &server->poll, fd);

	if (rc == 0 && (rc = uv_poll_init(&loop->uv, &server->arrivals, server->listen_fd)) != 0)
		uv_close((uv_handle_t *) &server->poll, NULL);
	if (rc != 0)
	{
		server_fail(error, "watch its sockets", uv_strerror(rc));
		return false;
	}
	uv_timer_init(&loop->uv, &server->timer);
	uv_timer_init(&loop->uv, &server->starved_timer);
	server->poll.data = server->arrivals.data = server;
	server->timer.data = server->starved_timer.data = server;
	uv_poll_start(&server->poll, UV_READABLE, server_poll_ready);
	return true;
}

static void
server_free(HttpServer *server)
{
	if (server->daemon != NULL)
		MHD_stop_daemon(server->daemon);
	server->daemon = NULL;
	close(server->listen_fd);
}

/*
 * Serves on that socket, which is the server's from now on, so many connections at
 * once: "handler" is called with "arg" for each request, in the loop.  Flags and
 * options are those of libmicrohttpd.  Returns false, with the error, if that is
 * not possible.
 */
bool
http_server_start(HttpServer *server, Loop *loop, int fd, int clients_max, unsigned int flags,
				  MHD_AccessHandlerCallback handler, void *arg,
				  const struct MHD_OptionItem *options, HttpServerError *error)
{
	server->listen_fd = fd;
	server->clients_max = clients_max;
	server->starved_us = 0;
	MHD_set_panic_func(server_panic, NULL);
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG | flags,
									  0, NULL, NULL, handler, arg,
									  MHD_OPTION_EXTERNAL_LOGGER, server_log, NULL,
									  MHD_OPTION_CONNECTION_LIMIT, clients_max,
									  MHD_OPTION_ARRAY, options,
									  MHD_OPTION_END);
	if (server->daemon == NULL)
		server_fail(error, "start libmicrohttpd", strerror(errno));
	if (server->daemon == NULL || !server_watch(server, loop, error))
	{
		server_free(server);
		return false;
	}
	server_work(server);
	return true;
}

/* A connection was resumed: libmicrohttpd has something to do that no socket reports. */
void
http_server_wake(HttpServer *server)
{
	server->woken = true;
	uv_timer_start(&server->timer, server_timer_fired, 0, 0);
}

/*
 * Ends all connections, and closes the socket.  What libuv still has to do is
 * done when the loop turns or is closed; until then the struct is in use.  Not
 * to be called from within the loop.
 */
void
http_server_stop(HttpServer *server)
{
	if (server->daemon == NULL)
		return;
	uv_close((uv_handle_t *) &server->poll, NULL);
	uv_close((uv_handle_t *) &server->arrivals, NULL);
	uv_close((uv_handle_t *) &server->timer, NULL);
	uv_close((uv_handle_t *) &server->starved_timer, NULL);
	server_free(server);
}

/* Answers a request; the body is copied.  What it returns is for libmicrohttpd. */
enum MHD_Result
http_server_respond(struct MHD_Connection *connection, const HttpResponse *answer)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	response = MHD_create_response_from_buffer(answer->body->len, answer->body->data,
											   MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;			/* no memory: the connection is closed */
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (answer->allow != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
	if (answer->policy != NULL)
		MHD_add_response_header(response, "Content-Security-Policy", answer->policy);
	if (answer->retry_after_s > 0)
	{
		char		seconds[16];

		snprintf(seconds, sizeof(seconds), "%d", answer->retry_after_s);
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

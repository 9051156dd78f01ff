/*
 * http_server.h
 *		libmicrohttpd on the loop.
 */
#pragma once

#include <microhttpd.h>

#include "lib/stringinfo.h"

#include "event/loop.h"

/* Why there is no server: "could not %s: %s". */
typedef struct HttpServerError
{
	const char *what;
	const char *why;
} HttpServerError;

/* All zero is one that does not run.  It must live as long as the loop. */
typedef struct HttpServer
{
	struct MHD_Daemon *daemon;	/* NULL: it does not run */
	int			listen_fd;
	int			clients_max;	/* connections at once; others wait in the backlog */
	uv_poll_t	poll;			/* of the descriptor of libmicrohttpd */
	uv_poll_t	arrivals;		/* of the listening socket; off while there is no room */
	uv_timer_t	timer;
	uv_timer_t	starved_timer;	/* active: descriptors ran out a moment ago */
	uint64		starved_us;		/* when that was logged; 0: it was not */
	bool		woken;			/* there is something to do at once */
} HttpServer;

/* What goes back to a client. */
typedef struct HttpResponse
{
	int			status;
	const char *content_type;
	int			retry_after_s;	/* header Retry-After; 0: none */
	const char *allow;			/* header Allow, or NULL */
	const char *policy;			/* header Content-Security-Policy, or NULL */
	StringInfo	body;
} HttpResponse;

extern int	http_server_listen(const char *host, int port, int backlog, HttpServerError *error);
extern bool http_server_start(HttpServer *server, Loop *loop, int fd, int clients_max, unsigned int flags,
							  MHD_AccessHandlerCallback handler, void *arg,
							  const struct MHD_OptionItem *options, HttpServerError *error);
extern void http_server_wake(HttpServer *server);
extern void http_server_stop(HttpServer *server);
extern enum MHD_Result http_server_respond(struct MHD_Connection *connection, const HttpResponse *answer);

/*
 * http_client.h
 *		An HTTP client on the loop: libcurl's multi interface.
 */
#ifndef POOL_EXHAUST_LOAD_HTTP_HTTP_CLIENT_H
#define POOL_EXHAUST_LOAD_HTTP_HTTP_CLIENT_H

#include "lib/ilist.h"

#include "event/loop.h"
#include "load/resolve.h"

#define HTTP_BODY_KEPT		4096	/* bytes of a body that are kept */
#define HTTP_BODY_MAX		(1024 * 1024)	/* a longer one ends the request */
#define HTTP_HEADERS_MAX	(64 * 1024) /* likewise */

/* A service to aim at.  The strings are the owner's, and outlive the client. */
typedef struct HttpTarget
{
	const char *url;			/* scheme://host[:port][/prefix] */
	const char *path;			/* needs the database */
	const char *liveness_path;
	const char *other_path;		/* does not need the database; NULL: there is none */
	const char *user;			/* basic authentication; NULL: none */
	const char *password;
	const char *sslrootcert;	/* a file of CA certificates; NULL: the system's */
} HttpTarget;

/* How a request ended. */
typedef enum HttpEnd
{
	HTTP_ANSWERED,
	HTTP_CONNECT_REFUSED,
	HTTP_UNREACHABLE,
	HTTP_NO_CONNECTION,			/* in time; so the next three */
	HTTP_NO_HANDSHAKE,
	HTTP_NO_ANSWER,
	HTTP_HALF_ANSWER,
	HTTP_CLOSED_EARLY,
	HTTP_NOT_HTTP,
	HTTP_BAD_CERTIFICATE,
	HTTP_NO_TLS,
	HTTP_HEADERS_TOO_LARGE,
	HTTP_BODY_TOO_LARGE,
	HTTP_FAILED					/* otherwise: "detail" says how */
} HttpEnd;

#define HTTP_ENDS (HTTP_FAILED + 1)

extern const char *const http_end_names[HTTP_ENDS];

typedef struct HttpReply
{
	HttpEnd		end;
	int			status;			/* 0: none came */
	char		retry_after[32];	/* as it stands there; empty: none */
	int			retry_after_s;	/* what it means; -1: nothing */
	char		content_type[64];	/* without parameters, in small letters */
	char		detail[128];	/* curl's words for a failure */
	uint64		took_us;
	uint64		ended_us;		/* monotonic */
	size_t		body_bytes;		/* that came; those that are kept end with a zero */
	char		body[HTTP_BODY_KEPT + 1];
} HttpReply;

/* One request at a time.  All zero is one that was never made. */
typedef struct HttpRequest
{
	bool		under_way;
	HttpReply	reply;			/* when it is not any more */
	void	   *owner;

	/* The client's own. */
	void	   *easy;
	uint64		asked_us;
	size_t		header_bytes;
	HttpEnd		cut_off;		/* we have ended it, for that */
	bool		connected;		/* and the TLS handshake has begun */
	char		error[256];
	dlist_node	node;			/* while under way, and until it is taken */
} HttpRequest;

typedef struct HttpClient HttpClient;

extern const char *http_url_error(const char *url);
extern HttpClient *http_client_open(Loop *loop, const HttpTarget *target);
extern bool http_client_ready(HttpClient *client);
extern const char *http_client_error(const HttpClient *client);
extern void http_ask(HttpClient *client, HttpRequest *request, const char *path, int timeout_ms);
extern HttpRequest *http_client_take(HttpClient *client);
extern void http_client_close(HttpClient *client);

#endif							/* POOL_EXHAUST_LOAD_HTTP_HTTP_CLIENT_H */

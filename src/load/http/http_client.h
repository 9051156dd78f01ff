/*
 * http_client.h
 *		An HTTP client on the loop: libcurl's multi interface.
 */
#pragma once

#include "event/loop.h"
#include "load/http/http_request.h"
#include "load/resolve.h"

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
	bool		anywhere;		/* also at addresses that are restricted, see address.h */
} HttpTarget;

typedef struct HttpClient HttpClient;

extern const char *http_url_error(const char *url);
extern HttpClient *http_client_open(Loop *loop, const HttpTarget *target);
extern bool http_client_ready(HttpClient *client);
extern const char *http_client_error(const HttpClient *client);
extern const char *http_client_forbidden(const HttpClient *client, const char **what);
extern void http_ask(HttpClient *client, HttpRequest *request, const char *path, int timeout_ms);
extern HttpRequest *http_client_take(HttpClient *client);
extern void http_client_close(HttpClient *client);

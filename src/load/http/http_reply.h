/*
 * http_reply.h
 *		For the HTTP client: what came back.
 */
#ifndef POOL_EXHAUST_LOAD_HTTP_HTTP_REPLY_H
#define POOL_EXHAUST_LOAD_HTTP_HTTP_REPLY_H

#include <curl/curl.h>

#include "load/http/http_request.h"

extern void http_url_parse(const char *text, bool *tls, char **host, char **port);
extern void http_reply_begin(HttpRequest *request);
extern void http_reply_finish(HttpRequest *request, CURLcode code, bool tls);

#endif							/* POOL_EXHAUST_LOAD_HTTP_HTTP_REPLY_H */

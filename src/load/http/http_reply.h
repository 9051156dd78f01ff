/*
 * http_reply.h
 *		For the HTTP client: what came back.
 */
#pragma once

#include <curl/curl.h>

#include "load/http/http_request.h"

extern void http_url_parse(const char *text, bool *tls, char **host, char **port);
extern void http_reply_begin(HttpRequest *request);
extern void http_reply_finish(HttpRequest *request, CURLcode code, bool tls);

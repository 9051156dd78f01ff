/*
 * page.h
 *		What there is to read over HTTP.
 */
#pragma once

#include "event/http_server.h"

typedef struct PageRequest
{
	const char *method;
	const char *path;
	const char *accept;			/* what the client says it can read, or NULL */
	const char *refresh;		/* these three: arguments of the path, or NULL */
	const char *format;
	const char *at;
} PageRequest;

/* A page: "write" fills in the answer to a request, and nothing in that can make it throw. */
typedef struct HttpPage
{
	const char *path;
	void		(*write) (HttpResponse *answer, const PageRequest *request);
} HttpPage;

#define JSON_TYPE	"application/json"
#define TEXT_TYPE	"text/plain; charset=utf-8"

/* For rooms above this one, in _PG_init: adds a page, which stays the caller's. */
extern void page_add(const HttpPage *page);

extern void page_request(HttpResponse *answer, const PageRequest *request);
extern void page_error(HttpResponse *answer, int status, const char *message);

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
	const char *refresh;		/* argument of the path, or NULL */
} PageRequest;

extern void page_request(HttpResponse *answer, const PageRequest *request);
extern void page_error(HttpResponse *answer, int status, const char *message);

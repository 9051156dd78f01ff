/*
 * page.h
 *		What there is to read over HTTP.
 */
#pragma once

#include "event/http_server.h"

extern void page_request(HttpResponse *answer, const char *method, const char *path, const char *accept);
extern void page_error(HttpResponse *answer, int status, const char *message);

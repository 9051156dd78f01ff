/*
 * page.h
 *		What there is to read over HTTP.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_HTTP_PAGE_H
#define POOL_EXHAUST_OBSERVE_MONITOR_HTTP_PAGE_H

#include "event/http_server.h"

extern void page_request(HttpResponse *answer, const char *method, const char *path, const char *accept);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_HTTP_PAGE_H */

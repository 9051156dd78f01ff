/*
 * reference_api.h
 *		A small HTTP service over pools of the run, as it should be: what
 *		backpressure is measured by where there is no other service.
 */
#pragma once

#include "load/pool/pool.h"

#define API_WORK		"/work" /* needs a connection of the pool */
#define API_LIMITED		"/limited"	/* needs one of the pool whose role has a limit */
#define API_OTHER		"/other"	/* needs none */
#define API_LIVEZ		"/livez"

typedef struct ReferenceApiConfig
{
	Loop	   *loop;
	Pool	   *pool;
	Pool	   *limited;
	const char *sql;			/* what a request that got a connection does with it */
	int			timeout_ms;		/* of the pools */
	int			clients_max;	/* connections to it at once */
	Fault		fault;
} ReferenceApiConfig;

typedef struct ReferenceApi ReferenceApi;

extern ReferenceApi *reference_api_open(const ReferenceApiConfig *config);
extern const char *reference_api_url(const ReferenceApi *api);
extern void reference_api_close(ReferenceApi *api);

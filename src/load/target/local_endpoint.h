/*
 * local_endpoint.h
 *		The ways in: how a client on this machine can log in to this server.
 */
#pragma once

#include "nodes/pg_list.h"

#include "load/session.h"

/* Never exists, and libpq passes over a password file that does not. */
#define NO_PASSFILE "/dev/null/none"

/* One address of this server, as a login for one role. */
typedef struct LocalEndpoint
{
	char	   *name;			/* for reports: no secret in it */
	const char *sort;			/* the same without the address */
	Login		login;
} LocalEndpoint;

extern void local_endpoint_init(void);
extern bool local_endpoint_listens(const char *address);
extern List *local_endpoints_list(const char *user, const char *password, const char *database,
								  const char *application_name);
extern ConnectResult local_endpoint_try(Loop *loop, const LocalEndpoint *local, Oid role, int timeout_ms,
										bool (*must_end) (void *arg), void *arg);

/*
 * endpoint.h
 *		Where a run that aims at a foreign server goes: what stands in the
 *		catalogs of the server and of the user's mapping, as logins.
 */
#pragma once

#include "nodes/pg_list.h"

#include "load/http/http_client.h"
#include "load/session.h"

typedef struct Endpoint
{
	char	   *name;			/* of the foreign server */
	const char *host;			/* a name, an address, or the directory of a socket; the first of ... */
	List	   *hosts;			/* ... several that lead to the same server, char * */
	int			addresses;		/* that sessions are spread over, as far as it is known; 0 = a socket */
	const char *port;
	Login		login;			/* as the clients log in ... */
	Login		console;		/* ... and where PgBouncer reports */
	int			capacity;		/* as the foreign server has it; 0 = to be asked */
	const char *target;			/* what a driver calls the target of the run; NULL: the same */
	bool		superuser;		/* the user is one, on this server */
	bool		password_required;	/* a login must be granted for the user's own password */
	HttpTarget	http;			/* of kind http, and then there is nothing of the above but the name */
} Endpoint;

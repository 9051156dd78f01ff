/*
 * resolve.h
 *		Host name -> addresses, without blocking the loop.
 */
#pragma once

#include "event/loop.h"
#include "load/login.h"

#define RESOLVE_ADDRESSES	8	/* of a host, at the most */
#define ADDRESS_LEN			64	/* IPv6 with its scope */

/* Of a host: numeric, the best first. */
typedef struct Addresses
{
	int			n;
	char		text[RESOLVE_ADDRESSES][ADDRESS_LEN];
} Addresses;

/* All zero is one that was not begun.  It must live as long as the loop. */
typedef struct Resolve
{
	bool		done;
	bool		failed;			/* error says why */
	char		error[128];
	Addresses	addresses;
	struct ResolveJob *job;		/* while it is under way */
	uv_poll_t	poll;
} Resolve;

extern int	addresses_find(const char *host, int flags, Addresses *addresses);
extern void resolve_begin(Resolve *resolve, Loop *loop, const char *host);
extern void resolve_give_up(Resolve *resolve);
extern bool host_is_socket(const char *host);
extern int	resolve_end(Resolve *resolve, const char *host, ConnectResult *failure);

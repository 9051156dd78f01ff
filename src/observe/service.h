/*
 * service.h
 *		Services: the sessions that share a role and an application_name.
 */
#ifndef POOL_EXHAUST_SERVICE_H
#define POOL_EXHAUST_SERVICE_H

#include "utils/hsearch.h"

#include "slot.h"

typedef struct ServiceKey
{
	Oid			role;
	char		application_name[NAMEDATALEN];
} ServiceKey;

typedef struct Service
{
	ServiceKey	key;
	char		usename[NAMEDATALEN];
	int			in_use;
	int			by_state[SLOT_STATES];
} Service;

/* A table of services, keyed by ServiceKey, in the current memory context. */
extern HTAB *services_create(void);
extern void services_add(HTAB *services, const Slot *slot);
extern void services_remember(HTAB *services);

#endif							/* POOL_EXHAUST_SERVICE_H */

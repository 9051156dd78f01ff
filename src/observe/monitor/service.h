/*
 * service.h
 *		Services: the sessions that share a role and an application_name.
 */
#pragma once

#include "utils/hsearch.h"

#include "observe/slots/slot.h"
#include "shmem/shared.h"

typedef struct ServiceKey
{
	Oid			role;
	char		application_name[NAMEDATALEN];
} ServiceKey;

/* How long idle sessions rest, in times of leak_threshold. */
#define REST_LIST(ROW)	ROW(1) ROW(10) ROW(60)
#define RESTS			(0 REST_LIST(LIST_ONE))

/* The services of one role that have one or two sessions each, and what they have together. */
typedef struct Namesakes
{
	int			services;
	int			sessions;
	int			idle;
	int			databases;
	int			hosts;			/* of clients; unix sockets count as one */
} Namesakes;

/* How a service uses its sessions: figures for people, that accuse none. */
typedef struct Usage
{
	int			rests[RESTS];	/* sessions that are idle for longer than that */
	int			used_once;		/* idle for longer than the threshold, and used only soon after they were opened */
	uint64		longest_rest_us;	/* that one rested before it was used again */
	int			listeners;		/* idle, waiting for notifications */
	int			generations;	/* of sessions that were all left before the next were opened */
	int			left;			/* sessions of these ... */
	TimestampTz left_since;		/* ... and when the first of them were */
	Namesakes	namesakes;		/* with it; 0: it is not small */
} Usage;

typedef struct Service
{
	ServiceKey	key;
	char		usename[NAMEDATALEN];
	int			in_use;
	int			by_state[SLOT_STATES];
	int			suspects;
	int			waiting_on_lock;
	int			walsenders;		/* not in use: these have slots of their own */
	Usage		usage;
} Service;

/* What a service did in the last minutes. */
typedef struct RecentFigures
{
	int64		opened;			/* logins granted, under the names of the login */
	int64		closed;
} RecentFigures;

/* Returns the key of the service that the session in the slot is of. */
extern ServiceKey service_key(const Slot *slot);

/* A table of services, keyed by ServiceKey, in the current memory context. */
extern HTAB *services_create(void);
extern Service *services_add(HTAB *services, const Slot *slot);
extern Service *services_add_like(HTAB *services, const Slot *slot, Service *like);
extern void services_add_walsender(HTAB *services, const Slot *slot);
extern void services_remember(HTAB *services);

/* A copy of what the monitor has marked, palloc'd.  Takes the lock. */
extern RecentServices *recent_services_copy(void);

/*
 * Says what the service at this place of the table, NULL: it has none, has done since the
 * oldest mark of the last RECENT_MINUTES; false if there is none.  Needs no lock.
 */
extern bool recent_service(const RecentServices *recent, const NameEntry *entry, int in_use, RecentFigures *figures);

/* Roles that may not read all statistics see the services of their own roles. */
extern bool service_may_see(Oid role);

/* Whether a role is to monitor: it has the rights of pg_monitor, and not all others too.  Needs a transaction. */
extern bool role_monitors(Oid role);

/* ROLE/APPLICATION_NAME; "name" has SERVICE_LEN bytes.  Needs a transaction. */
extern void service_name(Oid role, const char *application_name, char *name);

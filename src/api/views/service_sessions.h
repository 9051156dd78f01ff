/*
 * service_sessions.h
 *		The sessions of all services, for patterns that show among several.
 */
#pragma once

#include "observe/monitor/service.h"

typedef struct ServiceSession
{
	Service    *service;
	Oid			database;
	uint32		client;			/* hash of the address of its client's host */
	TimestampTz started;
	TimestampTz used;			/* when it began to do what it does, or rests */
	bool		worked;			/* later than soon after its start; and it does not rest on purpose */
} ServiceSession;

typedef struct ServiceSessions
{
	int			n;
	ServiceSession sessions[FLEXIBLE_ARRAY_MEMBER]; /* MaxConnections */
} ServiceSessions;

/* palloc'd, with room for all sessions. */
extern ServiceSessions *service_sessions_create(void);

/* Notes a session of the service. */
extern void service_sessions_note(ServiceSessions *all, Service *service, int number, const Slot *slot);

/*
 * To be called when all sessions are noted, which they put into another order: each puts
 * down in the usage of services what it found.  Generations are sessions that were all left
 * before the next were opened; namesakes are the small services of a role.
 */
extern void service_generations_find(ServiceSessions *all, TimestampTz now);
extern void service_namesakes_find(ServiceSessions *all);

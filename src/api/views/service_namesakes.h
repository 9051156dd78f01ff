/*
 * service_namesakes.h
 *		The small services of a role: perhaps one application, with a name for each process.
 */
#pragma once

#include "observe/monitor/service.h"

/* The sessions of all services, by role. */
typedef struct ServiceNamesakes ServiceNamesakes;

/* palloc'd, with room for all sessions. */
extern ServiceNamesakes *service_namesakes_create(void);

/* Notes a session of the service. */
extern void service_namesakes_note(ServiceNamesakes *namesakes, Service *service, const Slot *slot);

/*
 * To be called when all sessions are noted: puts down in the usage of each small service how
 * many of these its role has, and what they have together.
 */
extern void service_namesakes_find(ServiceNamesakes *namesakes);

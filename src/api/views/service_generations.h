/*
 * service_generations.h
 *		Generations of the sessions of each service: those that were all left before the next
 *		were opened.
 */
#pragma once

#include "observe/monitor/service.h"

/* The sessions of all services, by client host and database. */
typedef struct ServiceGenerations ServiceGenerations;

/* palloc'd, with room for all sessions. */
extern ServiceGenerations *service_generations_create(void);

/* Notes a session of the service. */
extern void service_generations_note(ServiceGenerations *generations, Service *service, int number, const Slot *slot);

/*
 * To be called when all sessions are noted: puts down in the usage of each service what was
 * found.
 */
extern void service_generations_find(ServiceGenerations *generations, TimestampTz now);

/*
 * service_sessions.c
 *		The sessions of all services, for patterns that show among several.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "api/views/service_sessions.h"
#include "observe/monitor/leak_detector.h"

ServiceSessions *
service_sessions_create(void)
{
	ServiceSessions *all = palloc_extended(offsetof(ServiceSessions, sessions) + sizeof(ServiceSession) * MaxConnections, MCXT_ALLOC_HUGE);

	all->n = 0;
	return all;
}

void
service_sessions_note(ServiceSessions *all, Service *service, int number, const Slot *slot)
{
	all->sessions[all->n++] = (ServiceSession) {
		.service = service, .database = slot->database, .client = slot->client,
		.started = slot->started, .used = slot->state_since,
		.worked = !session_use(number, slot).used_once && !slot_has_idle_reason(number, slot),
	};
}

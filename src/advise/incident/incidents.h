/*
 * incidents.h
 *		The incidents of a time, from what was recorded then.
 */
#pragma once

#include "advise/incident/incident.h"

/*
 * Calls "found" for each incident between two moments, in their order, which may change its copy;
 * reads no more than so many blocks, the latest; false if there were more.
 */
extern bool incidents_between(TimestampTz from, TimestampTz to, int blocks_max,
							  void (*found) (Incident *incident, void *arg), void *arg);

/* An incident that is further from a moment than that is not found there. */
#define INCIDENT_AT_US	(12 * USECS_PER_HOUR)

/*
 * Returns the incident at that moment, the latest before it, or else the first after it;
 * NULL: there is none.  "latest": the last of all, however old.  Palloc'd.
 */
extern Incident *incident_at(TimestampTz at, bool latest, int blocks_max);

/* Words, palloc'd. */
extern char *incident_refused_text(const Incident *incident);	/* "reserved_slots 12, role_limit 3"; NULL: none */
extern char *incident_end_text(const Incident *incident);
extern char *incident_borrowed_text(const Incident *incident);	/* which borrowers had leaked connections; NULL: none had */

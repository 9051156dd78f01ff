/*
 * incident_events.h
 *		What else was recorded in the time of an incident: limits that were changed, a
 *		clock that was set, a start of the server.
 */
#pragma once

#include "base/recorder/record.h"

/* So many are kept. */
#define INCIDENT_EVENTS_MAX	20

typedef struct IncidentEvent
{
	TimestampTz at;				/* the end of its second */
	RecordedEventType type;
	char	   *text;
} IncidentEvent;

typedef struct IncidentEvents
{
	int			n;
	int			more;			/* that there is no room for */
	IncidentEvent event[INCIDENT_EVENTS_MAX];
} IncidentEvents;

/*
 * Adds those of a second; what goes on for several counts once.  Names of services that
 * may not be seen are left out; NULL for "may_see": all may be.  Texts are palloc'd.
 */
extern void incident_events_add(IncidentEvents *events, const RecordedSecond *second, bool (*may_see) (Oid role));

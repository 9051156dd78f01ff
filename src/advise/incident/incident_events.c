/*
 * incident_events.c
 *		What else was recorded in the time of an incident, in words.
 */
#include "postgres.h"

#include "advise/incident/incident.h"
#include "advise/incident/incident_events.h"
#include "advise/incident/incident_names.h"

/* The service that an event is of, by the name that the reader may see. */
static const char *
event_service(const RecordedSecond *second, int place, bool (*may_see) (Oid role))
{
	char		name[SERVICE_LEN];

	if (place < 0 || place > RECORDED_OTHERS || !second->services[place].taken)
		return "a service";
	if (may_see != NULL && !may_see(second->services[place].role))
		return INCIDENT_HIDDEN;
	incident_service_name(second, &second->services[place], name);
	return pstrdup(name);
}

/* The pool that it is of: "role_limit of role app". */
static const char *
event_pool(const RecordedSecond *second, int place)
{
	const RecordedPool *pool = place >= 0 && place < second->npools ? &second->pools[place] : NULL;

	if (pool == NULL || pool->kind < 0 || pool->kind >= POOL_KINDS)
		return "a pool";
	return pool->name[0] == '\0' ? psprintf("%s %u", pool_kind_names[pool->kind], pool->oid)
		: psprintf("%s %s", pool_kind_names[pool->kind], pool->name);
}

static const char *
event_rule(int64 rule)
{
	return rule > LEAK_NONE && rule < LEAK_RULES ? leak_rules[rule]->name : "a leak";
}

/* Returns what happened, palloc'd; NULL: it is one of a newer version. */
static char *
event_text(const RecordedSecond *second, const RecordedEvent *event, bool (*may_see) (Oid role))
{
	switch (event->type)
	{
		case EVENT_SERVER_STARTED:
			return pstrdup("the server was started");
		case EVENT_MONITOR_STARTED:
			return pstrdup("the monitor was started again");
		case EVENT_RECORDER_ON:
			return pstrdup("the recorder was turned on, or began anew");
		case EVENT_MOVED:
			return pstrdup("what was before was recorded by another server");
		case EVENT_CLOCK_SET:
			return psprintf("the clock was set by %+.0f s", event->value / 1000.0);
		case EVENT_CAPACITY:
			return psprintf("the capacity of the server became " INT64_FORMAT ", it was " INT64_FORMAT, event->value, event->other);
		case EVENT_LIMIT:
			return psprintf("the limit of %s became " INT64_FORMAT ", it was " INT64_FORMAT, event_pool(second, event->place), event->value, event->other);
		case EVENT_HEALED:
			return psprintf("the healer ended session " INT64_FORMAT " of %s: %s", event->other, event_service(second, event->place, may_see),
							event_rule(event->value));
		case EVENT_RESET:
			return pstrdup("the statistics were reset");
		case EVENT_NOT_WRITTEN:
			return psprintf(INT64_FORMAT " s could not be recorded: %s", event->other, strerror((int) event->value));
		case EVENT_LEDGER_BLIND:
			return pstrdup("from here on refusals were not counted: log_min_messages");
		default:
			return NULL;
	}
}

/* Does it say what the one before it has said? */
static bool
event_goes_on(const IncidentEvents *events, const RecordedEvent *event)
{
	return event->type == EVENT_LEDGER_BLIND && events->n > 0 && events->event[events->n - 1].type == EVENT_LEDGER_BLIND;
}

void
incident_events_add(IncidentEvents *events, const RecordedSecond *second, bool (*may_see) (Oid role))
{
	for (int i = 0; i < second->nevents; i++)
	{
		const RecordedEvent *event = &second->events[i];
		char	   *text = event_goes_on(events, event) ? NULL : event_text(second, event, may_see);

		if (text == NULL)
			continue;
		if (events->n < INCIDENT_EVENTS_MAX)
			events->event[events->n++] = (IncidentEvent) {second->to, event->type, text};
		else
			events->more++;
	}
}

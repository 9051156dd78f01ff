/*
 * json.c
 *		The story of an incident as JSON, in one line.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "advise/incident/report.h"

static void
json_time(StringInfo out, const char *key, TimestampTz at)
{
	char		text[MAXDATELEN + 1];

	if (at == 0)
	{
		appendStringInfo(out, "\"%s\": null", key);
		return;
	}
	JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, NULL);
	appendStringInfo(out, "\"%s\": \"%s\"", key, text);
}

static void
json_moment(StringInfo out, const char *key, const IncidentMoment *moment)
{
	appendStringInfo(out, ", \"%s\": ", key);
	if (moment->at == 0)
	{
		appendStringInfoString(out, "null");
		return;
	}
	appendStringInfoChar(out, '{');
	json_time(out, "at", moment->at);
	appendStringInfo(out, ", \"in_use\": %d, \"capacity\": %d, \"health\": \"%s\"", moment->in_use, moment->capacity, health_names[moment->health]);
	for (int i = 0; i < SLOT_STATES; i++)
		appendStringInfo(out, ", \"%s\": %d", slot_state_names[i], moment->by_state[i]);
	appendStringInfoChar(out, '}');
}

static void
json_causes(StringInfo out, const Incident *incident)
{
	int			n = 0;

	appendStringInfo(out, ", \"refused\": " UINT64_FORMAT ", \"refused_by_cause\": {", incident_refused(incident));
	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (incident->refused[i] > 0)
			appendStringInfo(out, "%s\"%s\": " UINT64_FORMAT, n++ > 0 ? ", " : "", cause_kinds[i].name, incident->refused[i]);
	appendStringInfoChar(out, '}');
}

static void
json_services(StringInfo out, const IncidentReport *report)
{
	const Incident *incident = report->incident;

	appendStringInfoString(out, ", \"services\": [");
	for (int i = 0; i < incident->nservices; i++)
	{
		const IncidentService *service = &incident->services[i];

		appendStringInfoString(out, i > 0 ? ", {\"service\": " : "{\"service\": ");
		escape_json(out, service->name);
		appendStringInfo(out, ", \"before\": %d, \"worst\": %d, \"growth\": %d, \"opened\": " UINT64_FORMAT ", \"refused\": " UINT64_FORMAT ", ",
						 service->before, service->worst, incident_growth(service), service->opened, service->refused);
		if (incident->after.at != 0)
			appendStringInfo(out, "\"after\": %d, ", service->after);
		json_time(out, "recovered_at", service->recovered_at);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}

static void
json_borrowers(StringInfo out, const Incident *incident)
{
	appendStringInfo(out, ", \"borrowed\": %d, \"borrowers\": [", incident->borrowed);
	for (int i = 0; i < incident->nborrowers; i++)
	{
		appendStringInfoString(out, i > 0 ? ", {\"borrower\": " : "{\"borrower\": ");
		escape_json(out, incident->borrowers[i].name);
		appendStringInfoString(out, ", \"service\": ");
		escape_json(out, incident->borrowers[i].service);
		appendStringInfo(out, ", \"connections\": %d}", incident->borrowers[i].sessions);
	}
	appendStringInfoChar(out, ']');
}

/* What was not measured is null, as in the rest. */
static void
json_timeline(StringInfo out, const IncidentReport *report)
{
	appendStringInfoString(out, ", \"timeline\": [");
	for (int i = 0; i < INCIDENT_SLICES; i++)
	{
		const IncidentSlice *slice = &report->slices[i];

		appendStringInfoString(out, i > 0 ? ", {" : "{");
		json_time(out, "at", report->from + (report->to - report->from) / INCIDENT_SLICES * i);
		if (slice->measured)
			appendStringInfo(out, ", \"in_use\": %d, \"refused\": " UINT64_FORMAT ", \"health\": \"%s\"}", slice->in_use, slice->refused, health_names[slice->health]);
		else
			appendStringInfoString(out, ", \"in_use\": null, \"refused\": null, \"health\": null}");
	}
	appendStringInfoChar(out, ']');
}

/* Writes the incident without its time line, and without the end of the object. */
static void
json_summary(const IncidentReport *report, StringInfo out)
{
	const Incident *incident = report->incident;

	appendStringInfoChar(out, '{');
	json_time(out, "started_at", incident->started_at);
	appendStringInfoString(out, ", ");
	json_time(out, "ended_at", incident->ended_at);
	appendStringInfo(out, ", \"health\": \"%s\", \"sentence\": ", health_names[incident->worst_health]);
	escape_json(out, incident_sentence(report));
	json_causes(out, incident);
	json_moment(out, "before", &incident->before);
	json_moment(out, "worst", &incident->worst);
	json_moment(out, "after", &incident->after);
	appendStringInfo(out, ", \"growers\": %d", report->growers);
	json_services(out, report);
	json_borrowers(out, incident);
	appendStringInfo(out, ", \"end\": \"%s\", \"ended_by\": ", incident_end_names[incident->end]);
	escape_json(out, incident_end_text(incident));
	appendStringInfo(out, ", \"unmeasured_s\": %g, \"server_starts\": %d, \"run_id\": ", incident->unmeasured_ms / 1000.0, incident->starts);
	if (incident->run_id != 0)
		appendStringInfo(out, INT64_FORMAT, incident->run_id);
	else
		appendStringInfoString(out, "null");
}

void
incident_json_summary(const IncidentReport *report, StringInfo out)
{
	json_summary(report, out);
	appendStringInfoChar(out, '}');
}

static void
json_events(StringInfo out, const IncidentEvents *events)
{
	appendStringInfoString(out, ", \"events\": [");
	for (int i = 0; i < events->n; i++)
	{
		appendStringInfoString(out, i > 0 ? ", {" : "{");
		json_time(out, "at", events->event[i].at);
		appendStringInfo(out, ", \"event\": \"%s\", \"text\": ", recorded_event_names[events->event[i].type]);
		escape_json(out, events->event[i].text);
		appendStringInfoChar(out, '}');
	}
	appendStringInfo(out, "], \"more_events\": %d", events->more);
}

static void
json_write(const IncidentReport *report, StringInfo out)
{
	if (report->incident == NULL)
	{
		appendStringInfoString(out, "null\n");
		return;
	}
	json_summary(report, out);
	appendStringInfoString(out, ", \"recovered_last\": ");
	if (report->last != NULL)
		escape_json(out, report->last->name);
	else
		appendStringInfoString(out, "null");
	json_events(out, &report->events);
	json_timeline(out, report);
	appendStringInfoString(out, "}\n");
}

const IncidentFormat incident_format_json = {"json", "application/json", json_write};

/*
 * markdown.c
 *		The story of an incident as markdown, for a ticket or a chat.
 */
#include "postgres.h"

#include "advise/incident/report.h"
#include "base/markup.h"

static void
markdown_moment(StringInfo out, const char *name, const IncidentMoment *moment)
{
	if (moment->at != 0)
		appendStringInfo(out, "| %s | %s | %d of %d | %d | %d | %d | %d | %s |\n", name, clock_text(moment->at), moment->in_use, moment->capacity,
						 moment->by_state[SLOT_ACTIVE], moment->by_state[SLOT_IDLE], moment->by_state[SLOT_IDLE_IN_TRANSACTION],
						 moment->by_state[SLOT_AUTHENTICATING], health_names[moment->health]);
}

static void
markdown_services(StringInfo out, const IncidentReport *report)
{
	const Incident *incident = report->incident;

	appendStringInfoString(out, "\n| service | before | worst | after | opened | refused | through again |\n|---|--:|--:|--:|--:|--:|---|\n");
	for (int i = 0; i < incident_shown(incident); i++)
	{
		const IncidentService *service = &incident->services[i];

		appendStringInfoString(out, "| ");
		markdown_text(out, service->name);
		appendStringInfo(out, " | %d | %d | %s | " UINT64_FORMAT " | " UINT64_FORMAT " | %s |\n", service->before, service->worst,
						 incident->after.at != 0 ? psprintf("%d", service->after) : "-", service->opened, service->refused,
						 service_through_text(report, service));
	}
}

static void
markdown_events(StringInfo out, const IncidentEvents *events)
{
	if (events->n > 0)
		appendStringInfoString(out, "\nMeanwhile:\n\n");
	for (int i = 0; i < events->n; i++)
	{
		appendStringInfo(out, "- %s ", clock_text(events->event[i].at));
		markdown_text(out, events->event[i].text);
		appendStringInfoChar(out, '\n');
	}
	if (events->more > 0)
		appendStringInfo(out, "- %s\n", events_more_text(events));
}

static void
markdown_write(const IncidentReport *report, StringInfo out)
{
	const Incident *incident = report->incident;

	if (incident == NULL)
	{
		markdown_text(out, incident_none_text(report));
		appendStringInfoChar(out, '\n');
		return;
	}
	appendStringInfoString(out, "**Incident.** ");
	markdown_text(out, incident_sentence(report));
	appendStringInfoString(out, "\n\n| | at | slots | active | idle | idle in transaction | logging in | health |\n|---|---|--:|--:|--:|--:|--:|---|\n");
	markdown_moment(out, "before", &incident->before);
	markdown_moment(out, "worst", &incident->worst);
	markdown_moment(out, "after", &incident->after);
	markdown_services(out, report);
	if (incident->borrowed > 0)
	{
		appendStringInfoString(out, "\nLeaked: ");
		markdown_text(out, incident_borrowed_text(incident));
		appendStringInfoString(out, ".\n");
	}
	appendStringInfoString(out, "\nEnded: ");
	markdown_text(out, incident_end_text(incident));
	appendStringInfoString(out, ".\n");
	if (incident->unmeasured_ms > 0)
		appendStringInfo(out, "\n%s of it were not measured.\n", duration_text(incident->unmeasured_ms * 1000));
	if (incident->run_id != 0)
		appendStringInfo(out, "\nRun %s.\n", incident_run_text(incident));
	markdown_events(out, &report->events);
}

const IncidentFormat incident_format_markdown = {"markdown", "text/markdown; charset=utf-8", markdown_write};

/*
 * text.c
 *		The story of an incident for eyes in psql: one sentence first, then the three
 *		moments, the services, what ended it, and the shape of it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "advise/incident/report.h"
#include "base/text.h"

#define NAME_WIDTH		32
#define SPARK_WIDTH		60

static void
text_moment(StringInfo out, const char *name, const IncidentMoment *moment)
{
	if (moment->at == 0)
		return;
	appendStringInfo(out, "%-8s %s  %4d of %d slots   active %d, idle %d, idle in transaction %d, logging in %d   %s\n",
					 name, clock_text(moment->at), moment->in_use, moment->capacity, moment->by_state[SLOT_ACTIVE],
					 moment->by_state[SLOT_IDLE], moment->by_state[SLOT_IDLE_IN_TRANSACTION],
					 moment->by_state[SLOT_AUTHENTICATING], health_names[moment->health]);
}

static void
text_services(StringInfo out, const IncidentReport *report)
{
	const Incident *incident = report->incident;

	appendStringInfo(out, "%-*s %7s %7s %7s %7s %8s  %s\n", NAME_WIDTH, "service", "before", "worst", "after", "opened", "refused", "through again");
	for (int i = 0; i < incident_shown(incident); i++)
	{
		const IncidentService *service = &incident->services[i];

		appendStringInfo(out, "%-*s %7d %7d ", NAME_WIDTH, service->name, service->before, service->worst);
		if (incident->after.at != 0)
			appendStringInfo(out, "%7d", service->after);
		else
			appendStringInfo(out, "%7s", "-");
		appendStringInfo(out, " %7d %8d  %s\n", (int) service->opened, (int) service->refused, service_through_text(report, service));
	}
}

/* The fullest moment of each part of the time; a blank where nothing was measured. */
static void
text_shape(StringInfo out, const IncidentReport *report)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const ascii[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
	const char *const *ramp = text_encoding() == PG_UTF8 ? blocks : ascii;
	int			most = Max(report->incident->worst.in_use, 1);
	int			each = INCIDENT_SLICES / SPARK_WIDTH;

	appendStringInfoString(out, "in use   ");
	for (int i = 0; i < INCIDENT_SLICES; i += each)
	{
		int			in_use = -1;

		for (int j = i; j < i + each; j++)
			if (report->slices[j].measured)
				in_use = Max(in_use, report->slices[j].in_use);
		appendStringInfoString(out, in_use < 0 ? " " : ramp[Min(in_use * (int) lengthof(blocks) / most, (int) lengthof(blocks) - 1)]);
	}
	appendStringInfo(out, "  %s to %s\n", clock_text(report->from), clock_text(report->to));
}

static void
text_events(StringInfo out, const IncidentEvents *events)
{
	for (int i = 0; i < events->n; i++)
		appendStringInfo(out, "event    %s  %s\n", clock_text(events->event[i].at), events->event[i].text);
	if (events->more > 0)
		appendStringInfo(out, "event    %s\n", events_more_text(events));
}

static void
text_write(const IncidentReport *report, StringInfo out)
{
	const Incident *incident = report->incident;

	if (incident == NULL)
	{
		appendStringInfo(out, "%s\n", incident_none_text(report));
		return;
	}
	appendStringInfo(out, "%s\n", incident_sentence(report));
	text_moment(out, "before", &incident->before);
	text_moment(out, "worst", &incident->worst);
	text_moment(out, "after", &incident->after);
	text_services(out, report);
	if (incident->borrowed > 0)
		appendStringInfo(out, "leaked   %s\n", incident_borrowed_text(incident));
	appendStringInfo(out, "ended    %s\n", incident_end_text(incident));
	if (incident->unmeasured_ms > 0)
		appendStringInfo(out, "gap      %s of it were not measured\n", duration_text(incident->unmeasured_ms * 1000));
	if (incident->run_id != 0)
		appendStringInfo(out, "run      %s\n", incident_run_text(incident));
	text_events(out, &report->events);
	text_shape(out, report);
}

const IncidentFormat incident_format_text = {"text", "text/plain; charset=utf-8", text_write};

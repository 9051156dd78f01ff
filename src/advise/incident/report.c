/*
 * report.c
 *		The story of an incident: what the formats share.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "advise/incident/incident_names.h"
#include "advise/incident/report.h"
#include "observe/recorder/recording.h"

#define INCIDENT_FORMAT_ADDRESS(name) &incident_format_##name,

static const IncidentFormat *const formats[] = {
	INCIDENT_FORMATS(INCIDENT_FORMAT_ADDRESS)
};

const IncidentFormat *
incident_format_find(const char *name)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

char *
incident_formats_text(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(formats); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", formats[i]->name);
	return list.data;
}

/* ---------- What is read ---------- */

static void
slice_add(const IncidentReport *report, IncidentSlice *slice, const RecordedSecond *second)
{
	int			in_use = recorded_in_use(second);

	slice->health = Max(slice->health, second->health);
	if (slice->measured && in_use < slice->in_use)
		return;
	slice->measured = true;
	slice->in_use = in_use;
	for (int i = 0; i < report->growers; i++)
		slice->holders[i] = incident_service_in_use(second, report->incident->services[i].name);
}

static int
slice_at(const IncidentReport *report, TimestampTz at)
{
	return (int) Min(Max((at - report->from) * INCIDENT_SLICES / Max(report->to - report->from, 1), 0), INCIDENT_SLICES - 1);
}

/* A second belongs to each slice that it has a part of; what was refused in it to the last of these. */
static void
slices_add(IncidentReport *report, const RecordedSecond *second)
{
	int			last = slice_at(report, second->to - 1);

	for (int i = slice_at(report, second->from); i <= last; i++)
		slice_add(report, &report->slices[i], second);
	report->slices[last].refused += recorded_refused(second);
}

static void
time_read(IncidentReport *report, int blocks_max, bool (*may_see) (Oid role))
{
	Recording  *recording = recording_open(report->from, report->to, RECORDING_ALL, blocks_max);
	const RecordedSecond *second;

	while ((second = recording_next(recording)) != NULL)
		if (second->kind == RECORDED_SECOND && second->to > report->from && second->from < report->to)
		{
			slices_add(report, second);
			incident_events_add(&report->events, second, may_see);
		}
	recording_close(recording);
}

/* The refused service that was the last to be through again. */
static const IncidentService *
recovered_last(const Incident *incident)
{
	const IncidentService *last = NULL;

	for (int i = 0; i < incident->nservices; i++)
	{
		const IncidentService *service = &incident->services[i];

		if (service->recovered_at != 0 && (last == NULL || service->recovered_at > last->recovered_at))
			last = service;
	}
	return last;
}

IncidentReport *
incident_report(TimestampTz at, int blocks_max, bool (*may_see) (Oid role))
{
	IncidentReport *report = palloc0(sizeof(IncidentReport));
	Incident   *incident;

	report->at = TIMESTAMP_IS_NOEND(at) ? GetCurrentTimestamp() : at;
	incident = incident_at(report->at, TIMESTAMP_IS_NOEND(at), blocks_max);
	if (incident == NULL)
		return report;
	report->incident = incident;
	report->growers = incident_growers(incident);
	report->last = recovered_last(incident);
	report->from = Min(incident->before.at - USECS_PER_SEC, incident->started_at);
	report->to = incident->last_at;
	time_read(report, blocks_max, may_see);
	if (may_see != NULL)
		incident_hide(incident, may_see);
	return report;
}

/* ---------- Words ---------- */

char *
moment_text(TimestampTz at)
{
	return pstrdup(timestamptz_to_str(at - at % USECS_PER_SEC));
}

/* It is ISO 8601: the time begins after ten characters and a blank. */
char *
clock_text(TimestampTz at)
{
	char	   *text = moment_text(at);

	return strlen(text) > 19 ? pnstrdup(text + 11, 8) : text;
}

char *
duration_text(int64 us)
{
	int64		s = us / USECS_PER_SEC;

	if (s < 1)
		return psprintf("%d ms", (int) (us / 1000));
	if (s < 120)
		return psprintf("%d s", (int) s);
	if (s < 2 * 3600)
		return psprintf("%d min %d s", (int) (s / 60), (int) (s % 60));
	return psprintf("%d h %d min", (int) (s / 3600), (int) (s / 60 % 60));
}

char *
incident_none_text(const IncidentReport *report)
{
	return psprintf("No incident was recorded within %d hours of %s.", (int) (INCIDENT_AT_US / USECS_PER_HOUR), moment_text(report->at));
}

/* "app/report grew most, from 3 to 61" */
static char *
growth_text(const IncidentReport *report)
{
	const IncidentService *first = &report->incident->services[0];
	const IncidentService *second = &report->incident->services[1];

	if (report->growers == 0)
		return pstrdup("no service had grown");
	if (report->growers == 1)
		return psprintf("%s grew most, from %d to %d connections", first->name, first->before, first->worst);
	return psprintf("two services grew: %s from %d to %d connections, %s from %d to %d",
					first->name, first->before, first->worst, second->name, second->before, second->worst);
}

static char *
refused_text(const Incident *incident)
{
	uint64		refused = incident_refused(incident);

	return refused == 0 ? pstrdup("no login was refused")
		: psprintf(UINT64_FORMAT " login%s refused (%s)", refused, refused == 1 ? " was" : "s were", incident_refused_text(incident));
}

/* What, when, how long, how many, and by which service, in one sentence. */
char *
incident_sentence(const IncidentReport *report)
{
	const Incident *incident = report->incident;
	char	   *when = incident->ended_at == 0
		? psprintf("Since %s (%s so far)", moment_text(incident->started_at), duration_text(incident->last_at - incident->started_at))
		: psprintf("%s, for %s", moment_text(incident->started_at), duration_text(incident->ended_at - incident->started_at));

	return psprintf("%s: %s, %d of %d slots in use at the most, %s; %s.", when, health_names[incident->worst_health],
					incident->worst.in_use, incident->worst.capacity, refused_text(incident), growth_text(report));
}

/* Which run on this server was under way, palloc'd; NULL: none was. */
char *
incident_run_text(const Incident *incident)
{
	return incident->run_id == 0 ? NULL : psprintf(INT64_FORMAT " of pool_exhaust was under way on this server", incident->run_id);
}

char *
events_more_text(const IncidentEvents *events)
{
	return events->more == 0 ? NULL : psprintf("and %d more", events->more);
}

/* When a service that was refused was through again; empty if it was not refused. */
char *
service_through_text(const IncidentReport *report, const IncidentService *service)
{
	if (service->refused == 0)
		return pstrdup("");
	if (service->recovered_at == 0)
		return pstrdup("not seen");
	return psprintf("%s%s", clock_text(service->recovered_at), service == report->last ? ", the last" : "");
}

int
incident_shown(const Incident *incident)
{
	int			n = 0;

	while (n < Min(incident->nservices, INCIDENT_SHOWN) &&
		   (incident_growth(&incident->services[n]) != 0 || incident->services[n].refused > 0 || n == 0))
		n++;
	return n;
}

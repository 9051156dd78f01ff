/*
 * report.h
 *		The story of an incident, in several formats.
 *
 * A format is one file, which defines incident_format_<name>, and one line here.
 */
#pragma once

#include "lib/stringinfo.h"

#include "advise/incident/incident_events.h"
#include "advise/incident/incidents.h"

#define INCIDENT_FORMATS(FORMAT) \
	FORMAT(text) \
	FORMAT(json) \
	FORMAT(markdown) \
	FORMAT(html)

/* The time that is shown is cut into so many slices. */
#define INCIDENT_SLICES	120

/* A part of the time. */
typedef struct IncidentSlice
{
	bool		measured;		/* or else the rest means nothing */
	int			in_use;			/* the most */
	int			holders[2];		/* of the services that grew most, at that moment */
	Health		health;			/* the worst */
	uint64		refused;
} IncidentSlice;

typedef struct IncidentReport
{
	TimestampTz at;				/* what was asked for */
	const Incident *incident;	/* NULL: there is none */
	int			growers;		/* see incident_growers() */
	const IncidentService *last;	/* that was refused, and was the last to be through again; NULL: none */
	TimestampTz from;			/* the time that is shown */
	TimestampTz to;
	IncidentSlice slices[INCIDENT_SLICES];
	IncidentEvents events;		/* of that time */
} IncidentReport;

typedef struct IncidentFormat
{
	const char *name;
	const char *content_type;
	void		(*write) (const IncidentReport *report, StringInfo out);	/* whole lines */
} IncidentFormat;

#define INCIDENT_FORMAT_DECLARE(name) extern const IncidentFormat incident_format_##name;
INCIDENT_FORMATS(INCIDENT_FORMAT_DECLARE)
#undef INCIDENT_FORMAT_DECLARE

/* The same as JSON without its time line, for a list: no whole line. */
extern void incident_json_summary(const IncidentReport *report, StringInfo out);

/* NULL: there is none of that name. */
extern const IncidentFormat *incident_format_find(const char *name);
extern char *incident_formats_text(void);

/*
 * Reads what there is to tell of the incident at that moment, DT_NOEND: of the latest.
 * Names that may not be seen are left out; NULL for "may_see": all may be.  Palloc'd.
 */
extern IncidentReport *incident_report(TimestampTz at, int blocks_max, bool (*may_see) (Oid role));

/* Words that the formats share, palloc'd: moments to the second, in the time zone of the session. */
extern char *incident_sentence(const IncidentReport *report);
extern char *incident_none_text(const IncidentReport *report);
extern char *moment_text(TimestampTz at);
extern char *clock_text(TimestampTz at);	/* without its date */
extern char *duration_text(int64 us);
extern char *incident_run_text(const Incident *incident);
extern char *events_more_text(const IncidentEvents *events);	/* NULL: there are no more */
extern char *service_through_text(const IncidentReport *report, const IncidentService *service);

/* So many services are listed: those that grew, or were refused. */
#define INCIDENT_SHOWN	12
extern int	incident_shown(const Incident *incident);

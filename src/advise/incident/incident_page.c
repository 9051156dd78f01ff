/*
 * incident_page.c
 *		The pages /incidents and /incident: what was recorded, without a slot.
 *
 * The monitor reads the file itself, and no more of it for one answer than takes it a
 * fraction of the time between two samples.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "advise/incident/incident_page.h"
#include "advise/incident/report.h"
#include "base/markup.h"
#include "observe/monitor/http/moment.h"
#include "observe/monitor/http/page.h"
#include "observe/recorder/recording.h"
#include "plot/page.h"

/*
 * Blocks that are read at a time: of a busy server they have four hours, and take some
 * tens of milliseconds.  An answer reads them twice at the most.
 */
#define BLOCKS_MAX		24

/* The latest incidents are listed. */
#define LISTED_MAX		100

/* ---------- What is asked for ---------- */

static const IncidentFormat *
format_wanted(const PageRequest *request)
{
	if (request->format != NULL)
		return incident_format_find(request->format);
	if (request->accept != NULL && strstr(request->accept, "text/html") != NULL)
		return incident_format_find("html");
	if (request->accept != NULL && strstr(request->accept, JSON_TYPE) != NULL)
		return incident_format_find("json");
	return incident_format_find("text");
}

/* ---------- /incident ---------- */

static void
page_incident(HttpResponse *answer, const PageRequest *request)
{
	const IncidentFormat *format = format_wanted(request);
	TimestampTz at = DT_NOEND;

	if (format == NULL)
		page_error(answer, 400, psprintf("formats are: %s", incident_formats_text()));
	else if (request->at != NULL && !moment_parse(request->at, &at))
		page_error(answer, 400, MOMENT_HINT);
	else
	{
		answer->content_type = format->content_type;
		if (strcmp(format->name, "html") == 0)
			answer->policy = PAGE_POLICY "; frame-ancestors 'none'";
		format->write(incident_report(at, BLOCKS_MAX, NULL), answer->body);
	}
}

/* ---------- /incidents ---------- */

#define NOTHING_TEXT	"No incident was recorded."
#define NOT_ALL_TEXT	"What was recorded earlier was not read: pool_exhaust_incidents has all."

/* The latest, each as a line of the format, in a ring. */
typedef struct Listed
{
	const IncidentFormat *format;
	bool		all;			/* all that was recorded was read */
	int			n;
	char	   *lines[LISTED_MAX];
} Listed;

static int64
epoch_of(TimestampTz at)
{
	return at / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* One incident with nothing of its time, in that format. */
static char *
line_of(const IncidentFormat *format, Incident *incident)
{
	IncidentReport report = {.incident = incident, .growers = incident_growers(incident)};
	char	   *sentence = incident_sentence(&report);
	StringInfoData line;

	initStringInfo(&line);
	if (strcmp(format->name, "json") == 0)
		incident_json_summary(&report, &line);
	else if (strcmp(format->name, "html") == 0)
	{
		appendStringInfo(&line, "<p><a href=\"incident?at=" INT64_FORMAT "&amp;format=html\">", epoch_of(incident->worst.at));
		markup_text(&line, sentence);
		appendStringInfoString(&line, "</a></p>\n");
	}
	else
		appendStringInfo(&line, "%s\n", sentence);
	return line.data;
}

static void
list_note(Incident *incident, void *arg)
{
	Listed	   *listed = arg;

	listed->lines[listed->n++ % LISTED_MAX] = line_of(listed->format, incident);
}

/* The latest comes first. */
static void
write_listed(StringInfo out, const Listed *listed, const char *between)
{
	int			shown = Min(listed->n, LISTED_MAX);

	for (int i = 0; i < shown; i++)
		appendStringInfo(out, "%s%s", i > 0 ? between : "", listed->lines[(listed->n - 1 - i) % LISTED_MAX]);
}

static void
write_html(StringInfo out, const Listed *listed)
{
	page_begin(out, "Incidents");
	appendStringInfoString(out, "<article>\n");
	page_heading(out, 1, "Incidents");
	write_listed(out, listed, "");
	if (!listed->all)
		page_paragraph(out, NULL, NOT_ALL_TEXT);
	else if (listed->n == 0)
		page_paragraph(out, NULL, NOTHING_TEXT);
	appendStringInfoString(out, "</article>\n");
	page_end(out);
}

static void
write_text(StringInfo out, const Listed *listed)
{
	write_listed(out, listed, "");
	if (!listed->all)
		appendStringInfoString(out, NOT_ALL_TEXT "\n");
	else if (listed->n == 0)
		appendStringInfoString(out, NOTHING_TEXT "\n");
}

static void
page_incidents(HttpResponse *answer, const PageRequest *request)
{
	Listed	   *listed = palloc0(sizeof(Listed));

	listed->format = format_wanted(request);
	if (listed->format == NULL)
	{
		page_error(answer, 400, psprintf("formats are: %s", incident_formats_text()));
		return;
	}
	listed->all = incidents_between(DT_NOBEGIN, DT_NOEND, BLOCKS_MAX, list_note, listed);
	answer->content_type = listed->format->content_type;
	if (strcmp(listed->format->name, "json") == 0)
	{
		appendStringInfoChar(answer->body, '[');
		write_listed(answer->body, listed, ",\n ");
		appendStringInfoString(answer->body, "]\n");
	}
	else if (strcmp(listed->format->name, "html") == 0)
	{
		answer->policy = PAGE_POLICY "; frame-ancestors 'none'";
		write_html(answer->body, listed);
	}
	else
		write_text(answer->body, listed);
}

/* To be called from _PG_init. */
void
incident_page_init(void)
{
	page_add(&(HttpPage) {"/incidents", page_incidents});
	page_add(&(HttpPage) {"/incident", page_incident});
}

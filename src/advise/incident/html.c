/*
 * html.c
 *		The story of an incident as a page, with charts.
 */
#include "postgres.h"

#include <math.h>

#include "advise/incident/report.h"
#include "plot/page.h"
#include "plot/table.h"
#include "plot/time_plot.h"

static double
slice_s(const IncidentReport *report, int slice)
{
	return (report->from - report->incident->started_at + (report->to - report->from) * (double) slice / INCIDENT_SLICES) / USECS_PER_SEC;
}

static TimePlot *
plot_begin(const IncidentReport *report, const char *id, const char *title, const char *description)
{
	TimePlot   *plot = palloc0(sizeof(TimePlot));
	double	   *at = palloc(sizeof(double) * INCIDENT_SLICES);

	for (int i = 0; i < INCIDENT_SLICES; i++)
		at[i] = slice_s(report, i);
	plot->base = (Plot) {&time_plot, {id, title, description}};
	plot->unit = "s";
	plot->n = INCIDENT_SLICES;
	plot->at = at;
	plot->from = slice_s(report, 0);
	plot->to = slice_s(report, INCIDENT_SLICES);
	return plot;
}

/* A series of the plot; what was not measured is not drawn. */
static double *
series_add(TimePlot *plot, const IncidentReport *report, const char *name, Ink ink, bool filled)
{
	double	   *values = palloc(sizeof(double) * INCIDENT_SLICES);

	for (int i = 0; i < INCIDENT_SLICES; i++)
		values[i] = NAN;
	plot->series[plot->nseries++] = (TimeSeries) {name, ink, .filled = filled, .values = values};
	return values;
}

static void
bands_add(TimePlot *plot, const IncidentReport *report)
{
	TimeBand   *bands = palloc(sizeof(TimeBand) * INCIDENT_SLICES);
	int			n = 0;

	for (int i = 0; i < INCIDENT_SLICES; i++)
	{
		const char *name = report->slices[i].measured ? health_names[report->slices[i].health] : "not measured";

		if (n > 0 && bands[n - 1].name == name)
			bands[n - 1].to = slice_s(report, i + 1);
		else
			bands[n++] = (TimeBand) {name, slice_s(report, i), slice_s(report, i + 1)};
	}
	plot->bands = bands;
	plot->nbands = n;
}

static void
in_use_chart(const IncidentReport *report, StringInfo out)
{
	static const Ink inks[] = {INK_C, INK_D};
	TimePlot   *plot = plot_begin(report, "in-use", "Slots in use", "Slots that were taken, and those of the services that grew most; capacity, the thresholds of health, and the health.");
	double	   *total = series_add(plot, report, "in use", INK_A, true);
	double	   *holders[2] = {NULL};

	for (int h = 0; h < report->growers; h++)
		holders[h] = series_add(plot, report, report->incident->services[h].name, inks[h], false);
	for (int i = 0; i < INCIDENT_SLICES; i++)
	{
		if (!report->slices[i].measured)
			continue;
		total[i] = report->slices[i].in_use;
		for (int h = 0; h < report->growers; h++)
			holders[h][i] = report->slices[i].holders[h];
	}
	bands_add(plot, report);
	time_plot_health_levels(plot, report->incident->worst.capacity);
	plot_figure(&plot->base, out);
}

static void
refused_chart(const IncidentReport *report, StringInfo out)
{
	TimePlot   *plot = plot_begin(report, "refused", "Logins refused", "Logins that were refused, for any cause, in each part of the time.");
	double	   *values = series_add(plot, report, "refused", INK_B, false);

	plot->series[0].spikes = true;
	for (int i = 0; i < INCIDENT_SLICES; i++)
		if (report->slices[i].measured)
			values[i] = report->slices[i].refused;
	if (incident_refused(report->incident) > 0)
		plot_figure(&plot->base, out);
	else
		page_paragraph(out, NULL, "No login was refused.");
}

static void
moment_row(StringInfo out, const char *name, const IncidentMoment *moment)
{
	if (moment->at == 0)
		return;
	table_row(out, name);
	table_text(out, clock_text(moment->at));
	table_number(out, moment->in_use);
	for (int i = 0; i < SLOT_STATES; i++)
		table_number(out, moment->by_state[i]);
	table_text(out, health_names[moment->health]);
	table_row_end(out);
}

static void
moments_table(const IncidentReport *report, StringInfo out)
{
	static const char *const columns[] = {"", "at", "in use", "logging in", "active", "idle", "idle in transaction", "not known", "health"};

	StaticAssertStmt(lengthof(columns) == SLOT_STATES + 4, "each state must have a column");
	table_begin(out, "Before, at the worst moment, and after", lengthof(columns), columns);
	moment_row(out, "before", &report->incident->before);
	moment_row(out, "worst", &report->incident->worst);
	moment_row(out, "after", &report->incident->after);
	table_end(out);
}

static void
services_table(const IncidentReport *report, StringInfo out)
{
	static const char *const columns[] = {"service", "before", "worst", "after", "opened", "refused", "through again"};
	const Incident *incident = report->incident;

	table_begin_names(out, "Services that grew, or were refused", lengthof(columns), columns);
	for (int i = 0; i < incident_shown(incident); i++)
	{
		const IncidentService *service = &incident->services[i];

		table_row(out, service->name);
		table_named_short(out, columns[1], psprintf("%d", service->before));
		table_named_short(out, columns[2], psprintf("%d", service->worst));
		table_named_short(out, columns[3], incident->after.at != 0 ? psprintf("%d", service->after) : "");
		table_named_short(out, columns[4], psprintf(UINT64_FORMAT, service->opened));
		table_named_short(out, columns[5], psprintf(UINT64_FORMAT, service->refused));
		table_named_text(out, columns[6], service_through_text(report, service));
		table_row_end(out);
	}
	table_end(out);
}

static void
events_table(const IncidentEvents *events, StringInfo out)
{
	static const char *const columns[] = {"at", "what happened"};

	if (events->n == 0)
		return;
	table_begin(out, "Meanwhile", lengthof(columns), columns);
	for (int i = 0; i < events->n; i++)
	{
		table_row(out, clock_text(events->event[i].at));
		table_text(out, events->event[i].text);
		table_row_end(out);
	}
	table_end(out);
	if (events->more > 0)
		page_paragraph(out, NULL, events_more_text(events));
}

static void
html_write(const IncidentReport *report, StringInfo out)
{
	const Incident *incident = report->incident;

	page_begin(out, incident != NULL ? psprintf("Incident of %s", moment_text(incident->started_at)) : "No incident");
	appendStringInfoString(out, "<article>\n");
	page_heading(out, 1, incident != NULL ? psprintf("Incident of %s", moment_text(incident->started_at)) : "No incident");
	page_paragraph(out, NULL, incident != NULL ? incident_sentence(report) : incident_none_text(report));
	if (incident != NULL)
	{
		if (incident->borrowed > 0)
			page_paragraph(out, NULL, psprintf("Leaked: %s.", incident_borrowed_text(incident)));
		page_paragraph(out, NULL, psprintf("Ended: %s.", incident_end_text(incident)));
		if (incident->unmeasured_ms > 0)
			page_paragraph(out, NULL, psprintf("%s of it were not measured.", duration_text(incident->unmeasured_ms * 1000)));
		if (incident->run_id != 0)
			page_paragraph(out, NULL, psprintf("Run %s.", incident_run_text(incident)));
		appendStringInfoString(out, "<div class=\"charts\">\n");
		in_use_chart(report, out);
		refused_chart(report, out);
		appendStringInfoString(out, "</div>\n");
		moments_table(report, out);
		services_table(report, out);
		events_table(&report->events, out);
	}
	appendStringInfoString(out, "</article>\n");
	page_end(out);
}

const IncidentFormat incident_format_html = {"html", "text/html; charset=utf-8", html_write};

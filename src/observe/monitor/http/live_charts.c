/*
 * live_charts.c
 *		The charts of the page /report: the timeline of the last hour, refusals by
 *		cause, and the services that hold slots.
 */
#include "postgres.h"

#include <math.h>

#include "base/text.h"
#include "observe/monitor/http/live_charts.h"
#include "observe/monitor/http/live_text.h"
#include "observe/monitor/snapshot.h"
#include "observe/monitor/timeline.h"
#include "observe/slots/ledger.h"
#include "plot/bars.h"
#include "plot/page.h"
#include "plot/slices.h"
#include "plot/time_plot.h"
#include "shmem/monitor_status.h"

#define HOUR_US			(3600 * INT64CONST(1000000))

/* The shortest slice of it: that of a few samples, or of a time in which refusals are counted. */
#define SAMPLES_US		(2 * sample_interval * INT64CONST(1000))
#define COUNTED_US		Max(SAMPLES_US, USECS_PER_SEC)

#define SERVICES_SHOWN	16

/* The last hour of the timeline, or what there is of it. */
typedef struct LiveHour
{
	TimestampTz from;
	TimestampTz now;
	const char *unit;			/* of time, which is counted back from now */
	double		unit_us;
	int			n;
	TimelineSlice slices[SLICES_MAX];
} LiveHour;

/* Returns it in slices that are no shorter than that; palloc'd. */
static LiveHour *
live_hour(TimestampTz now, int64 slice_us)
{
	LiveHour   *hour = palloc(sizeof(LiveHour));
	TimestampTz from = Max(timeline_begins(now), now - HOUR_US);
	bool		is_short = now - from < 5 * USECS_PER_MINUTE;

	hour->from = from;
	hour->now = now;
	hour->unit = is_short ? "s" : "min";
	hour->unit_us = is_short ? USECS_PER_SEC : USECS_PER_MINUTE;
	hour->n = Min(Max((now - from) / slice_us, 1), SLICES_MAX);
	timeline_slices(from, now, hour->slices, hour->n);
	return hour;
}

static double
place_of(const LiveHour *hour, TimestampTz at)
{
	return (at - hour->now) / hour->unit_us;
}

/* When a slice begins. */
static double
slice_begin(const LiveHour *hour, int slice)
{
	return place_of(hour, hour->from) * (1 - (double) slice / hour->n);
}

/* Returns a plot over all of the time, for "room" moments at the most; palloc'd. */
static TimePlot *
hour_plot(const LiveHour *hour, int room, const char *id, const char *title, const char *description)
{
	TimePlot   *plot = palloc0(sizeof(TimePlot));

	plot->base = (Plot) {&time_plot, {id, title, description}};
	plot->unit = hour->unit;
	plot->from = slice_begin(hour, 0);
	plot->to = 0;
	plot->at = palloc(sizeof(double) * room);
	return plot;
}

/* ---------- Slots in use ---------- */

/* The times of the same health, one after the other. */
static void
health_bands(const LiveHour *hour, TimePlot *plot)
{
	TimeBand   *bands = palloc(sizeof(TimeBand) * SLICES_MAX);
	int			n = 0;

	for (int i = 0; i < hour->n; i++)
	{
		const char *name = health_names[hour->slices[i].health];

		if (hour->slices[i].n == 0)
			continue;
		if (n > 0 && bands[n - 1].name == name)
			bands[n - 1].to = slice_begin(hour, i + 1);
		else
			bands[n++] = (TimeBand) {name, slice_begin(hour, i), slice_begin(hour, i + 1)};
	}
	plot->bands = bands;
	plot->nbands = n;
}

static void
sample_add(const LiveHour *hour, TimePlot *plot, double *const *values, const TimelineRow *sample)
{
	((double *) plot->at)[plot->n] = place_of(hour, sample->at);
	values[0][plot->n] = sample->in_use;
	values[1][plot->n] = sample->active;
	values[2][plot->n] = sample->idle_in_transaction;
	plot->n++;
}

/* Of each slice the fullest sample is drawn, and the emptiest. */
static void
in_use_chart(StringInfo out, const LiveHour *hour, int capacity)
{
	TimePlot   *plot = hour_plot(hour, 2 * SLICES_MAX, "in-use", "Slots in use",
								 "Slots that were taken, and what their sessions did then; capacity, the thresholds of health, and the health.");
	double	   *values[3];

	for (int i = 0; i < lengthof(values); i++)
		values[i] = palloc(sizeof(double) * 2 * SLICES_MAX);
	for (int i = 0; i < hour->n; i++)
	{
		const TimelineSlice *slice = &hour->slices[i];
		bool		falls = slice->most.at < slice->least.at;

		if (slice->n > 0)
			sample_add(hour, plot, values, falls ? &slice->most : &slice->least);
		if (slice->n > 0 && slice->most.at != slice->least.at)
			sample_add(hour, plot, values, falls ? &slice->least : &slice->most);
	}
	plot->nseries = lengthof(values);
	plot->series[0] = (TimeSeries) {"in use", INK_A, .filled = true, .values = values[0]};
	plot->series[1] = (TimeSeries) {"active", INK_D, .values = values[1]};
	plot->series[2] = (TimeSeries) {"idle in transaction", INK_C, .values = values[2]};
	health_bands(hour, plot);
	time_plot_health_levels(plot, capacity);
	plot_figure(&plot->base, out);
}

/* ---------- Refusals ---------- */

static void
refused_chart(StringInfo out, const LiveHour *hour)
{
	double		seconds = (hour->now - hour->from) / (double) USECS_PER_SEC / hour->n;
	double	   *values = palloc(sizeof(double) * SLICES_MAX);
	TimePlot   *plot = hour_plot(hour, SLICES_MAX, "refused", "Logins refused",
								 psprintf("Logins that were refused because the slots of the server ran out, in each %s s.", number_text(rint(seconds * 10) / 10)));
	double		sum = 0;

	for (int i = 0; i < hour->n; i++)
	{
		if (hour->slices[i].n == 0)
			continue;
		((double *) plot->at)[plot->n] = (slice_begin(hour, i) + slice_begin(hour, i + 1)) / 2;
		values[plot->n++] = hour->slices[i].refused;
		sum += hour->slices[i].refused;
	}
	plot->nseries = 1;
	plot->series[0] = (TimeSeries) {"refused", INK_B, .spikes = true, .values = values};
	if (sum > 0)
		plot_figure(&plot->base, out);
	else
		page_paragraph(out, NULL, "No login was refused in this time because the slots of the server ran out.");
}

static void
causes_chart(StringInfo out)
{
	BarRow		rows[LEDGER_CAUSES];
	BarPlot		plot = {
		.base = {&bar_plot, {"causes", "Refusals by cause",
				psprintf("All logins that were refused since %s.", live_time(shared->observed.counted_since))}},
		.unit = "",
		.what = "cause",
		.nparts = 1,
		.parts = {{"refusals", INK_B}},
		.rows = rows,
	};

	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (ledger_refusals(i) > 0)
			rows[plot.nrows++] = (BarRow) {cause_kinds[i].name, {ledger_refusals(i)}};
	if (plot.nrows > 0)
		plot_figure(&plot.base, out);
	else
		page_paragraph(out, NULL, psprintf("No login was refused for any cause since %s.", live_time(shared->observed.counted_since)));
}

/* ---------- Services ---------- */

/* Those that hold the most come first. */
static int
compare_services(const void *a, const void *b)
{
	const Service *x = *(Service *const *) a;
	const Service *y = *(Service *const *) b;

	return x->in_use != y->in_use ? y->in_use - x->in_use : memcmp(&x->key, &y->key, sizeof(ServiceKey));
}

/* Returns the services that hold slots, palloc'd. */
static Service **
services_holding(int *n)
{
	HTAB	   *services = snapshot_last()->services;
	Service   **holding = palloc(sizeof(Service *) * (hash_get_num_entries(services) + 1));
	HASH_SEQ_STATUS seq;
	Service    *service;

	*n = 0;
	hash_seq_init(&seq, services);
	while ((service = hash_seq_search(&seq)) != NULL)
		if (service->in_use > 0)
			holding[(*n)++] = service;
	qsort(holding, *n, sizeof(Service *), compare_services);
	return holding;
}

static void
service_add(BarRow *row, const Service *service)
{
	int			active = service->by_state[SLOT_ACTIVE];
	int			in_transaction = service->by_state[SLOT_IDLE_IN_TRANSACTION];

	row->parts[0] += active;
	row->parts[1] += in_transaction;
	row->parts[2] += service->in_use - active - in_transaction;
}

static void
services_chart(StringInfo out)
{
	int			n;
	Service   **services = services_holding(&n);
	int			others = Max(n - SERVICES_SHOWN, 0);
	BarRow		rows[SERVICES_SHOWN + 1] = {{0}};
	BarPlot		plot = {
		.base = {&bar_plot, {"services", "Services that hold slots",
				"Sessions by role/application_name: those with the most, and all others together."}},
		.unit = "",
		.what = "service",
		.nparts = 3,
		.parts = {{"active", INK_D}, {"idle in transaction", INK_C},
		{snapshot_last()->by_state[SLOT_UNKNOWN] > 0 ? "idle, or not known" : "idle", INK_FAINT}},
		.nrows = Min(n, SERVICES_SHOWN + 1),
		.rows = rows,
	};

	for (int i = 0; i < n; i++)
		service_add(&rows[Min(i, SERVICES_SHOWN)], services[i]);
	for (int i = 0; i < Min(n, SERVICES_SHOWN); i++)
		rows[i].name = live_service(services[i]->usename, services[i]->key.application_name);
	if (others > 0)
		rows[SERVICES_SHOWN].name = psprintf("(%d others)", others);
	if (n > 0)
		plot_figure(&plot.base, out);
	else
		page_paragraph(out, NULL, snapshot_last()->readable ? "No session holds a slot."
					   : "Names of roles cannot be read at the moment, because another session has locked their catalog.");
}

/* Writes the charts. */
void
live_charts(StringInfo out, TimestampTz now, const PoolRow *server)
{
	const LiveHour *hour = live_hour(now, SAMPLES_US);

	page_heading(out, 2, "Charts");
	page_paragraph(out, "muted", psprintf("Time 0 is %s; of the last hour there are samples since %s.", live_time(now), live_time(hour->from)));
	appendStringInfoString(out, "<div class=\"charts\">\n");
	if (hour->from == now)
		page_paragraph(out, NULL, "The timeline has no sample yet.");
	else
	{
		in_use_chart(out, hour, server->limit.capacity);
		refused_chart(out, live_hour(now, COUNTED_US));
	}
	causes_chart(out);
	services_chart(out);
	appendStringInfoString(out, "</div>\n");
}

/*
 * recovery.c
 *		How a run came back from each way of losing connections: the strategies of
 *		the healer and the moments of the way back, on a line of time.
 */
#include "postgres.h"

#include <math.h>

#include "plot/spans.h"
#include "report/chart/chart.h"

#define STRATEGIES_CHECK	"strategies in their order"

/* What measures a moment: checks, by the begin of their names, or a figure of the phase. */
static const struct
{
	const char *check;
	const char *figure;
	LegendEntry legend;
}			moments[] = {
	{"first success after", NULL, {"first success", INK_A}},
	{"as fast as before", NULL, {"as fast as before", INK_C}},
	{"healthy after", NULL, {"healthy", INK_D}},
	{NULL, "slots_lost_ms", {"lost slots free", INK_B}},
};

StaticAssertDecl(lengthof(moments) <= MOMENTS_MAX, "a span has room for each moment");

/* Returns in ms when that was, after the begin of the phase; NaN if it did not happen there. */
static double
moment_ms(const ReportData *data, const ReportPhase *phase, int moment)
{
	double		ms;

	if (moments[moment].figure != NULL)
		return chart_figure(phase, moments[moment].figure, &ms) ? ms : NAN;
	for (int i = 0; i < data->nchecks; i++)
	{
		const ReportCheck *check = &data->checks[i];

		if (strcmp(check->phase, phase->name) == 0 && isfinite(check->comparison.observed) &&
			strncmp(check->name, moments[moment].check, strlen(moments[moment].check)) == 0)
			return check->comparison.observed;
	}
	return NAN;
}

/* Returns the strategies that the healer used in the phase, or "". */
static const char *
strategies_of(const ReportData *data, const ReportPhase *phase)
{
	for (int i = 0; i < data->nchecks; i++)
		if (strcmp(data->checks[i].phase, phase->name) == 0 && strcmp(data->checks[i].name, STRATEGIES_CHECK) == 0)
			return data->checks[i].observed;
	return "";
}

/* Makes the span of a phase; returns whether it has a moment. */
static bool
span_of(const ReportData *data, const ReportPhase *phase, Span *span)
{
	bool		any = false;

	*span = (Span) {phase->name, strategies_of(data, phase), phase->began_s, phase->began_s + phase->elapsed_s};
	for (int i = 0; i < lengthof(moments); i++)
	{
		span->moments[i] = span->from + moment_ms(data, phase, i) / 1000;
		if (isnan(span->moments[i]))
			continue;
		span->to = Max(span->to, span->moments[i]);
		any = true;
	}
	return any && phase->began_s >= 0;
}

static Plot *
recovery_plot(const ReportData *data)
{
	SpanPlot   *plot = palloc0(sizeof(SpanPlot));
	Span	   *spans = palloc(sizeof(Span) * (data->nphases + 1));

	plot->from = INFINITY;
	for (int i = 0; i < data->nphases; i++)
	{
		if (!span_of(data, &data->phases[i], &spans[plot->nspans]))
			continue;
		plot->from = Min(plot->from, spans[plot->nspans].from);
		plot->to = Max(plot->to, spans[plot->nspans].to);
		plot->nspans++;
	}
	for (int i = 0; i < lengthof(moments); i++)
		plot->moments[plot->nmoments++] = moments[i].legend;
	plot->base.type = &span_plot;
	plot->unit = "s";
	plot->spans = spans;
	return plot->nspans > 0 ? &plot->base : NULL;
}

const ReportChart report_chart_recovery = {
	.name = "recovery",
	.title = "The way back",
	.description = "The phases in which connections were lost, with the strategies of the healer in their order; moments count from the begin of the phase.",
	.plot = recovery_plot,
};

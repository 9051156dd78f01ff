/*
 * compare.c
 *		Two runs side by side: which numbers both have, how far these are from each
 *		other, and how much of that is chance.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "utils/json.h"

#include "base/text.h"
#include "report/compare.h"
#include "report/percentiles.h"

#define NAME_WIDTH		34
#define NUMBER_WIDTH	13

/* ---------- The numbers ---------- */

/* Adds a metric of both runs, of which the values may be NaN. */
static ComparedMetric *
metric_add(RunComparison *c, char *name, const char *unit, double base, double candidate)
{
	ComparedMetric *metric = &c->metrics[c->nmetrics++];

	*metric = (ComparedMetric) {name, unit, base, candidate, NAN, ""};
	return metric;
}

/* Returns the latency of that phase and metric; NULL if the run has none. */
const ReportLatency *
latency_find(const ReportData *data, const ReportLatency *like)
{
	for (int i = 0; i < data->nlatencies; i++)
		if (strcmp(data->latencies[i].phase, like->phase) == 0 && strcmp(data->latencies[i].metric, like->metric) == 0)
			return &data->latencies[i];
	return NULL;
}

/* The noise of the trend, or else of what both histograms say of themselves. */
static void
metric_find_noise(RunComparison *c, ComparedMetric *metric, const ReportLatency *base, const ReportLatency *candidate, double fraction)
{
	for (int i = 0; i < c->nnoises; i++)
	{
		if (strcmp(c->noises[i].metric, metric->name) != 0)
			continue;
		metric->noise = c->noises[i].noise;
		metric->noise_of = "trend";
		return;
	}
	if (base == NULL || candidate == NULL)
		return;
	metric->noise = hypot(buckets_noise(&base->buckets, fraction), buckets_noise(&candidate->buckets, fraction));
	metric->noise_of = "histograms";
}

static double
latency_value(const ReportLatency *latency, double fraction)
{
	return latency != NULL ? buckets_percentile(&latency->buckets, fraction) : NAN;
}

/* Adds the percentiles of a latency; one of the runs may not have it. */
static void
latency_add(RunComparison *c, const ReportLatency *base, const ReportLatency *candidate)
{
	const ReportLatency *either = base != NULL ? base : candidate;

	for (int i = 0; i < lengthof(percentiles); i++)
	{
		double		fraction = percentiles[i].fraction;
		ComparedMetric *metric = metric_add(c, percentile_name(either, &percentiles[i]), either->unit,
											latency_value(base, fraction), latency_value(candidate, fraction));

		metric_find_noise(c, metric, base, candidate, fraction);
	}
}

static bool
check_is_time(const ReportCheck *check)
{
	return strcmp(check->unit, "ms") == 0 && check->comparison.operator != OPERATOR_NONE;
}

static bool
check_is_same(const ReportCheck *check, const ReportCheck *like)
{
	return strcmp(check->phase, like->phase) == 0 && strcmp(check->name, like->name) == 0;
}

static double
check_value(const ReportData *data, const ReportCheck *like)
{
	for (int i = 0; i < data->nchecks; i++)
		if (check_is_time(&data->checks[i]) && check_is_same(&data->checks[i], like))
			return data->checks[i].comparison.observed;
	return NAN;
}

/* Adds what the checks of a run observed that are times, and of what the other run has not, if "alone". */
static void
checks_add(RunComparison *c, const ReportData *data, bool alone)
{
	for (int i = 0; i < data->nchecks; i++)
	{
		const ReportCheck *check = &data->checks[i];

		if (check_is_time(check) && (!alone || isnan(check_value(c->base, check))))
			metric_add(c, psprintf("%s: check %s", check->phase, check->name), check->unit,
					   check_value(c->base, check), check_value(c->candidate, check));
	}
}

static const ReportCheck *
check_find(const ReportData *data, const ReportCheck *like)
{
	for (int i = 0; i < data->nchecks; i++)
		if (check_is_same(&data->checks[i], like))
			return &data->checks[i];
	return NULL;
}

/* Adds the checks of the base whose outcome is another one in the candidate, and those that one of them alone has. */
static void
changes_add(RunComparison *c)
{
	for (int i = 0; i < c->base->nchecks; i++)
	{
		const ReportCheck *base = &c->base->checks[i];
		const ReportCheck *candidate = check_find(c->candidate, base);

		if (candidate == NULL || !check_is(candidate, base->outcome))
			c->changes[c->nchanges++] = (CheckChange) {base, candidate};
	}
	for (int i = 0; i < c->candidate->nchecks; i++)
		if (check_find(c->base, &c->candidate->checks[i]) == NULL)
			c->changes[c->nchanges++] = (CheckChange) {NULL, &c->candidate->checks[i]};
}

/*
 * Returns two runs of one scenario side by side, palloc'd: what differs in their
 * environment, the percentiles of every latency, every time that a check observed, and
 * the checks whose outcome differs, in the order of the base.  What only one of them
 * has comes after that.
 */
RunComparison *
runs_compare(const ReportData *base, const ReportData *candidate)
{
	RunComparison *c = palloc0(sizeof(RunComparison));
	int			nchecks = base->nchecks + candidate->nchecks;
	int			nmetrics = lengthof(percentiles) * (base->nlatencies + candidate->nlatencies) + nchecks;

	c->base = base;
	c->candidate = candidate;
	c->metrics = palloc(sizeof(ComparedMetric) * Max(nmetrics, 1));
	c->changes = palloc(sizeof(CheckChange) * Max(nchecks, 1));
	comparison_read(c);
	for (int i = 0; i < base->nlatencies; i++)
		latency_add(c, &base->latencies[i], latency_find(candidate, &base->latencies[i]));
	for (int i = 0; i < candidate->nlatencies; i++)
		if (latency_find(base, &candidate->latencies[i]) == NULL)
			latency_add(c, NULL, &candidate->latencies[i]);
	checks_add(c, base, false);
	checks_add(c, candidate, true);
	changes_add(c);
	return c;
}

/* Returns by how much the candidate is larger; NaN if that is not known. */
double
metric_change_percent(const ComparedMetric *metric)
{
	if (metric->base == metric->candidate)
		return 0;
	return metric->base > 0 && isfinite(metric->base) && isfinite(metric->candidate)
		? 100 * (metric->candidate - metric->base) / metric->base : NAN;
}

/* Returns how many times the noise they are apart; NaN if that is not known. */
double
metric_times_noise(const ComparedMetric *metric)
{
	double		distance = fabs(metric->candidate - metric->base);

	return metric->noise > 0 && isfinite(distance) ? distance / metric->noise : NAN;
}

/* ---------- What writers share ---------- */

/* Returns "1500 us"; "" for NaN. */
char *
metric_value_text(const ComparedMetric *metric, double value)
{
	return isnan(value) ? pstrdup("") : psprintf("%s %s", number_text(value), metric->unit);
}

/* Returns "+50 %"; "" if it is not known. */
char *
metric_change_text(const ComparedMetric *metric)
{
	double		percent = metric_change_percent(metric);

	return isnan(percent) ? pstrdup("") : psprintf("%+.0f %%", rint(percent) + 0.0);	/* no -0 */
}

/* Returns "4.2 x 14 (trend)"; "" if it is not known. */
char *
metric_noise_text(const ComparedMetric *metric)
{
	double		times = metric_times_noise(metric);

	return isnan(times) ? pstrdup("") : psprintf("%.*f x %s (%s)", times < 100 ? 1 : 0, times, number_text(metric->noise), metric->noise_of);
}

char *
change_name(const CheckChange *change)
{
	const ReportCheck *check = change->base != NULL ? change->base : change->candidate;

	return psprintf("%s: %s", check->phase, check->name);
}

/* Returns its outcome, "none" if the run does not have it. */
const char *
change_outcome(const ReportCheck *check)
{
	return check != NULL ? check->outcome : "none";
}

/* ---------- Format text ---------- */

static void
text_run(const char *what, const ReportData *data, StringInfo out)
{
	appendStringInfo(out, "%-10s run " INT64_FORMAT ", %s on %s, %s: %s%s%s\n", what, data->run_id, data->scenario, data->target,
					 data->started_at, verdict_text(data),
					 data->reason[0] != '\0' ? ", " : "", data->reason);
}

static void
text_difference(const EnvironmentDifference *difference, StringInfo out)
{
	appendStringInfo(out, "not comparable: %s: %s in the base, %s in the candidate\n", difference->name,
					 difference->base[0] != '\0' ? difference->base : "none",
					 difference->candidate[0] != '\0' ? difference->candidate : "none");
}

static char *
number_or_none(double value)
{
	return isnan(value) ? "-" : number_text(value);
}

/* "queue: grant p50 (us)    120    180    +50 %   4.2 x 14 (trend)" */
static void
text_metric(const ComparedMetric *metric, StringInfo out)
{
	char	   *change = metric_change_text(metric);
	char	   *noise = metric_noise_text(metric);

	appendStringInfo(out, "%-*s %*s %*s %*s%s%s\n", NAME_WIDTH, psprintf("%s (%s)", metric->name, metric->unit),
					 NUMBER_WIDTH, number_or_none(metric->base), NUMBER_WIDTH, number_or_none(metric->candidate),
					 NUMBER_WIDTH, change[0] != '\0' ? change : "-", noise[0] != '\0' ? "   " : "", noise);
}

static void
text_change(const CheckChange *change, StringInfo out)
{
	appendStringInfo(out, "check %s: %s in the base, %s in the candidate\n", change_name(change),
					 change_outcome(change->base), change_outcome(change->candidate));
}

void
compare_text(const RunComparison *c, StringInfo out)
{
	text_run("base", c->base, out);
	text_run("candidate", c->candidate, out);
	for (int i = 0; i < c->ndifferences; i++)
		text_difference(&c->differences[i], out);
	appendStringInfo(out, "%-*s %*s %*s %*s   %s\n", NAME_WIDTH, "", NUMBER_WIDTH, "base",
					 NUMBER_WIDTH, "candidate", NUMBER_WIDTH, "change", "times noise");
	for (int i = 0; i < c->nmetrics; i++)
		text_metric(&c->metrics[i], out);
	for (int i = 0; i < c->nchanges; i++)
		text_change(&c->changes[i], out);
}

/* ---------- Format json ---------- */

/* "name": value, and null for what JSON has no number for. */
static void
json_number(StringInfo out, const char *name, double value)
{
	appendStringInfo(out, ", \"%s\": %s", name, isfinite(value) ? psprintf("%.*g", DBL_DIG, value) : "null");
}

static void
json_string(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, "\"%s\": ", name);
	escape_json(out, value);
}

static void
json_run(StringInfo out, const char *what, const ReportData *data)
{
	appendStringInfo(out, "\"%s\": {\"run_id\": " INT64_FORMAT ", ", what, data->run_id);
	json_string(out, "target", data->target);
	appendStringInfoString(out, ", ");
	json_string(out, "verdict", data->verdict);
	appendStringInfoString(out, ", ");
	json_string(out, "reason", data->reason);
	appendStringInfoString(out, "}, ");
}

static void
json_differences(StringInfo out, const RunComparison *c)
{
	for (int i = 0; i < c->ndifferences; i++)
	{
		appendStringInfoString(out, i > 0 ? ", {" : "{");
		json_string(out, "name", c->differences[i].name);
		appendStringInfoString(out, ", ");
		json_string(out, "base", c->differences[i].base);
		appendStringInfoString(out, ", ");
		json_string(out, "candidate", c->differences[i].candidate);
		appendStringInfoChar(out, '}');
	}
}

static void
json_metric(StringInfo out, const ComparedMetric *metric)
{
	appendStringInfoChar(out, '{');
	json_string(out, "name", metric->name);
	appendStringInfoString(out, ", ");
	json_string(out, "unit", metric->unit);
	json_number(out, "base", metric->base);
	json_number(out, "candidate", metric->candidate);
	json_number(out, "change_percent", metric_change_percent(metric));
	json_number(out, "noise", metric->noise);
	json_number(out, "times_noise", metric_times_noise(metric));
	appendStringInfoString(out, ", ");
	json_string(out, "noise_of", metric->noise_of);
	appendStringInfoChar(out, '}');
}

static void
json_changes(StringInfo out, const RunComparison *c)
{
	for (int i = 0; i < c->nchanges; i++)
	{
		const CheckChange *change = &c->changes[i];

		appendStringInfoString(out, i > 0 ? ", {" : "{");
		json_string(out, "name", change_name(change));
		appendStringInfoString(out, ", ");
		json_string(out, "base", change_outcome(change->base));
		appendStringInfoString(out, ", ");
		json_string(out, "candidate", change_outcome(change->candidate));
		appendStringInfoChar(out, '}');
	}
}

/* One object in one line. */
void
compare_json(const RunComparison *c, StringInfo out)
{
	appendStringInfoChar(out, '{');
	json_string(out, "scenario", c->base->scenario);
	appendStringInfoString(out, ", ");
	json_run(out, "base", c->base);
	json_run(out, "candidate", c->candidate);
	appendStringInfo(out, "\"comparable\": %s, \"differences\": [", c->ndifferences == 0 ? "true" : "false");
	json_differences(out, c);
	appendStringInfoString(out, "], \"metrics\": [");
	for (int i = 0; i < c->nmetrics; i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		json_metric(out, &c->metrics[i]);
	}
	appendStringInfoString(out, "], \"checks\": [");
	json_changes(out, c);
	appendStringInfoString(out, "]}\n");
}

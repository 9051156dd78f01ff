/*
 * compare.h
 *		Two runs of one scenario side by side.
 */
#pragma once

#include "lib/stringinfo.h"

#include "report/data.h"

/* A number that both runs have, or one of them. */
typedef struct ComparedMetric
{
	char	   *name;
	const char *unit;
	double		base;			/* these two NaN: the run does not have it */
	double		candidate;
	double		noise;			/* how far such numbers are from each other by chance; NaN: not known */
	const char *noise_of;		/* where it is from: "trend", "histograms" or "" */
} ComparedMetric;

/* What keeps the runs from being compared; a value that is not there is "". */
typedef struct EnvironmentDifference
{
	char	   *name;
	char	   *base;
	char	   *candidate;
} EnvironmentDifference;

/* A check whose outcome differs; NULL: the run does not have it. */
typedef struct CheckChange
{
	const ReportCheck *base;
	const ReportCheck *candidate;
} CheckChange;

/* The noise of a metric, by the runs before. */
typedef struct TrendNoise
{
	char	   *metric;
	double		noise;
} TrendNoise;

typedef struct RunComparison
{
	const ReportData *base;
	const ReportData *candidate;
	int			ndifferences;
	EnvironmentDifference *differences;
	int			nnoises;
	TrendNoise *noises;
	int			nmetrics;
	ComparedMetric *metrics;
	int			nchanges;
	CheckChange *changes;
} RunComparison;

/* A difference of fewer times the noise says nothing. */
#define TELLING_TIMES_NOISE 2

extern RunComparison *runs_compare(const ReportData *base, const ReportData *candidate);
extern double metric_change_percent(const ComparedMetric *metric);
extern double metric_times_noise(const ComparedMetric *metric);
extern const ReportLatency *latency_find(const ReportData *data, const ReportLatency *like);

/* What writers share; palloc'd. */
extern char *metric_value_text(const ComparedMetric *metric, double value);
extern char *metric_change_text(const ComparedMetric *metric);
extern char *metric_noise_text(const ComparedMetric *metric);
extern char *change_name(const CheckChange *change);
extern const char *change_outcome(const ReportCheck *check);

/* The writers, see format.h. */
extern void compare_text(const RunComparison *comparison, StringInfo out);
extern void compare_json(const RunComparison *comparison, StringInfo out);
extern void compare_html(const RunComparison *comparison, StringInfo out);
extern void compare_markdown(const RunComparison *comparison, StringInfo out);

/* Read from the tables: see read.c. */
extern void comparison_read(RunComparison *comparison);

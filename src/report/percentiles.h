/*
 * percentiles.h
 *		The percentiles that stand for a latency: in view pool_exhaust_trends, where
 *		runs are compared, and in benchmark-json.
 */
#pragma once

#include "report/data.h"

typedef struct Percentile
{
	const char *name;
	double		fraction;
} Percentile;

static const Percentile percentiles[] = {{"p50", 0.50}, {"p99", 0.99}};

/* Returns the metric's name, as in the view: "fill: grant p99"; palloc'd. */
static inline char *
percentile_name(const ReportLatency *latency, const Percentile *percentile)
{
	return psprintf("%s: %s %s", latency->phase, latency->metric, percentile->name);
}

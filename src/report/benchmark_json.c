/*
 * benchmark_json.c
 *		Report format benchmark-json: the percentiles of each latency, as dashboards of
 *		benchmarks take them: an array of {name, unit, value, range}, of which smaller
 *		is better.
 */
#include "postgres.h"

#include "utils/json.h"

#include "base/text.h"
#include "report/format.h"
#include "report/percentiles.h"

static void
benchmark_metric(const ReportData *data, const ReportLatency *latency, const Percentile *percentile, StringInfo out)
{
	appendStringInfoString(out, out->len > 1 ? ",\n{\"name\": " : "\n{\"name\": ");
	escape_json(out, psprintf("%s on %s: %s", data->scenario, data->target, percentile_name(latency, percentile)));
	appendStringInfoString(out, ", \"unit\": ");
	escape_json(out, latency->unit);
	appendStringInfo(out, ", \"value\": %.0f, \"range\": \"+- %s\"}",
					 buckets_percentile(&latency->buckets, percentile->fraction),
					 number_text(buckets_noise(&latency->buckets, percentile->fraction)));
}

static void
benchmark_run(const ReportData *run, StringInfo out)
{
	for (int i = 0; i < run->nlatencies; i++)
		for (int j = 0; j < lengthof(percentiles); j++)
			benchmark_metric(run, &run->latencies[i], &percentiles[j], out);
	for (int i = 0; i < run->nparts; i++)
		benchmark_run(run->parts[i], out);
}

static void
benchmark_json_write(const ReportData *const *runs, int n, StringInfo out)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
		benchmark_run(runs[i], out);
	appendStringInfoString(out, "\n]\n");
}

const ReportFormat report_format_benchmark_json = {
	.name = "benchmark-json",
	.parts = true,
	.measured = true,
	.write_several = benchmark_json_write,
};

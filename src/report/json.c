/*
 * json.c
 *		Report format json: everything that is known of a run, as one object in
 *		one line; of several runs, an array of these.
 */
#include "postgres.h"

#include "report/compare.h"
#include "report/format.h"

static void
json_write(const ReportData *data, StringInfo out)
{
	appendStringInfo(out, "%s\n", data->json);
}

static void
json_write_several(const ReportData *const *runs, int n, StringInfo out)
{
	appendStringInfoString(out, "[\n");
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s%s\n", runs[i]->json, i < n - 1 ? "," : "");
	appendStringInfoString(out, "]\n");
}

const ReportFormat report_format_json = {
	.name = "json",
	.write = json_write,
	.write_several = json_write_several,
	.compare = compare_json,
};

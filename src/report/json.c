/*
 * json.c
 *		Report format json: everything that is known of a run, as one object in
 *		one line.
 */
#include "postgres.h"

#include "report/format.h"

static void
json_write(const ReportData *data, StringInfo out)
{
	appendStringInfo(out, "%s\n", data->json);
}

const ReportFormat report_format_json = {
	.name = "json",
	.write = json_write,
};

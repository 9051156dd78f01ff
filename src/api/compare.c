/*
 * compare.c
 *		pool_exhaust_compare(): two runs side by side.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "api/launch.h"
#include "report/report.h"

PG_FUNCTION_INFO_V1(pool_exhaust_compare);

/* Argument n, the id of a run that the caller may read: its results. */
static const ReportData *
results_arg(FunctionCallInfo fcinfo, int n, const char *name)
{
	arg_require(fcinfo, n, name, "Table pool_exhaust_runs lists the runs.");
	return report_read(PG_GETARG_INT64(n), NULL, false);
}

static void
require_one_scenario(const ReportData *base, const ReportData *candidate)
{
	if (strcmp(base->scenario, candidate->scenario) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("run " INT64_FORMAT " is of scenario \"%s\" and run " INT64_FORMAT " of \"%s\", which have no numbers in common",
						base->run_id, base->scenario, candidate->run_id, candidate->scenario),
				 errhint("Compare runs of one scenario: SELECT id FROM pool_exhaust_runs WHERE scenario = '%s'.", base->scenario)));
}

Datum
pool_exhaust_compare(PG_FUNCTION_ARGS)
{
	const ReportFormat *format;
	const ReportData *base;
	const ReportData *candidate;

	arg_require(fcinfo, 2, "format", "Leave it out for text.");
	format = compare_format_find(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	base = results_arg(fcinfo, 0, "base");
	candidate = results_arg(fcinfo, 1, "candidate");
	require_one_scenario(base, candidate);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	compare_put((ReturnSetInfo *) fcinfo->resultinfo, base, candidate, format);
	return (Datum) 0;
}

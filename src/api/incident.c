/*
 * incident.c
 *		pool_exhaust_incident(): the story of an incident.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "advise/incident/report.h"
#include "observe/monitor/service.h"
#include "observe/recorder/recording.h"

PG_FUNCTION_INFO_V1(pool_exhaust_incident);

static const IncidentFormat *
format_arg(const char *name)
{
	const IncidentFormat *format = incident_format_find(name);

	if (format == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not exist", name),
				 errhint("Formats are: %s.", incident_formats_text())));
	return format;
}

/* One row for each line, as EXPLAIN does it. */
static void
put_lines(ReturnSetInfo *rsinfo, char *text)
{
	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
	{
		Datum		value = PointerGetDatum(cstring_to_text_with_len(line, end - line));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
}

/* SQL: what happened, before, at the worst moment and after. */
Datum
pool_exhaust_incident(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_ARGISNULL(0) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(0);
	const IncidentFormat *format = format_arg(PG_ARGISNULL(1) ? "text" : text_to_cstring(PG_GETARG_TEXT_PP(1)));
	IncidentReport *report;
	StringInfoData out;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!PG_ARGISNULL(0) && TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the moment of an incident must be finite")));
	report = incident_report(at, RECORDING_NO_LIMIT, service_may_see);
	initStringInfo(&out);
	format->write(report, &out);
	put_lines((ReturnSetInfo *) fcinfo->resultinfo, out.data);
	return (Datum) 0;
}

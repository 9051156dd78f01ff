/*
 * incidents.c
 *		The rows of view pool_exhaust_incidents.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "advise/incident/incident_names.h"
#include "advise/incident/incidents.h"
#include "api/rows.h"
#include "observe/monitor/service.h"
#include "observe/recorder/recording.h"

PG_FUNCTION_INFO_V1(pool_exhaust_incidents_rows);

/* Refusals by cause, as jsonb would be read: {"reserved_slots": 12} */
static char *
refused_json(const Incident *incident)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (incident->refused[i] > 0)
			appendStringInfo(&json, "%s\"%s\": " UINT64_FORMAT, json.len > 0 ? ", " : "{", cause_kinds[i].name, incident->refused[i]);
	appendStringInfoString(&json, json.len > 0 ? "}" : "{}");
	return json.data;
}

static void
incident_put(Incident *incident, void *arg)
{
	RowBuilder *row = arg;
	bool		grown = incident_growers(incident) > 0;

	incident_hide(incident, service_may_see);
	row_time(row, (uint64) incident->started_at);
	row_time(row, (uint64) incident->ended_at);
	row_text(row, health_names[incident->worst_health]);
	row_int(row, incident->worst.in_use);
	row_int(row, incident->worst.capacity);
	row_time(row, (uint64) incident->worst.at);
	row_bigint(row, (int64) incident_refused(incident));
	row_text(row, refused_json(incident));
	row_text(row, grown ? incident->services[0].name : NULL);
	row_int_if(row, grown, incident->services[0].worst);
	row_int_if(row, grown, incident_growth(&incident->services[0]));
	row_text(row, incident_growers(incident) > 1 ? incident->services[1].name : NULL);
	row_text(row, incident->end != END_UNDER_WAY ? incident_end_text(incident) : NULL);
	row_float_if(row, true, incident->unmeasured_ms / 1000.0);
	row_bigint_if(row, incident->run_id != 0, incident->run_id);
	row_end(row);
}

/* The rows of view pool_exhaust_incidents. */
Datum
pool_exhaust_incidents_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);

	incidents_between(DT_NOBEGIN, DT_NOEND, RECORDING_NO_LIMIT, incident_put, &row);
	return (Datum) 0;
}

/*
 * explain.c
 *		pool_exhaust_explain(): what is wrong, or was, for SQL.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#include "advise/explain/explain.h"
#include "api/rows.h"
#include "base/text.h"
#include "observe/monitor/service.h"
#include "observe/recorder/recording.h"

PG_FUNCTION_INFO_V1(pool_exhaust_explain);

static void
name_service(HeldService *service)
{
	char		name[SERVICE_LEN];
	const char *usename = GetUserNameFromId(service->key.role, true);

	service_name(service->key.role, service->key.application_name, name);
	service->name = text_printable(name);
	service->usename = usename;
}

static int
explain_now(Finding *findings)
{
	FactsSource source = {.limits = limits_read(), .name = name_service, .may_see = service_may_see, .monitors = role_monitors,
	.exempt = superuser_arg};

	return explain(&source, findings);
}

static int
explain_then(TimestampTz at, Finding *findings)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the moment to explain must be finite")));
	return explain_at(at, RECORDING_NO_LIMIT, service_may_see, findings);
}

/* SQL: the rows of what is wrong, or was at a moment, the most important first. */
Datum
pool_exhaust_explain(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);
	Finding		findings[FINDINGS_MAX];
	int			n;

	if (shared != NULL)
		n = PG_ARGISNULL(0) ? explain_now(findings) : explain_then(PG_GETARG_TIMESTAMPTZ(0), findings);
	else
		n = explain_without_library(findings, has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS));
	for (int i = 0; i < n; i++)
	{
		row_int(&row, i + 1);
		row_text(&row, findings[i].cause);
		row_text(&row, findings[i].sentence);
		row_text(&row, findings[i].evidence);
		row_text(&row, findings[i].next_step);
		row_text(&row, confidence_names[findings[i].confidence]);
		row_end(&row);
	}
	return (Datum) 0;
}

/*
 * explain.c
 *		pool_exhaust_explain(): what is wrong, for SQL.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "advise/explain/explain.h"
#include "api/rows.h"
#include "base/text.h"
#include "observe/monitor/service.h"

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

/* SQL: the rows of what is wrong, the most important first. */
Datum
pool_exhaust_explain(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);
	Finding		findings[FINDINGS_MAX];
	int			n;

	if (shared != NULL)
	{
		FactsSource source = {.limits = limits_read(), .name = name_service, .may_see = service_may_see, .monitors = role_monitors,
		.exempt = superuser_arg};

		n = explain(&source, findings);
	}
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

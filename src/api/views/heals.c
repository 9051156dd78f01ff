/*
 * heals.c
 *		The rows of view pool_exhaust_heals.
 */
#include "postgres.h"

#include "fmgr.h"

#include "api/rows.h"
#include "base/text.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/service.h"
#include "observe/monitor/strategy.h"

PG_FUNCTION_INFO_V1(pool_exhaust_heals_rows);

/* The rows of view pool_exhaust_heals. */
Datum
pool_exhaust_heals_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	HealLogEntry record;
	uint64		seen = 0;

	while (heal_log_read(&seen, &record))
	{
		if (!service_may_see(record.role))
			continue;
		row_time(&row, (uint64) record.at);
		row_int(&row, record.pid);
		row_text(&row, record.service);
		row_text(&row, leak_rules[record.rule]->name);
		row_text(&row, strategies[record.strategy].name);
		row_text(&row, text_printable(record.evidence));
		row_bigint_if(&row, record.run_id != 0, record.run_id);
		row_text(&row, leak_certainty_names[strategies[record.strategy].certainty]);
		row_end(&row);
	}
	return (Datum) 0;
}

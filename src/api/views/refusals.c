/*
 * refusals.c
 *		The rows of the views of refusals: by cause, and by service.
 */
#include "postgres.h"

#include "fmgr.h"

#include "api/rows.h"
#include "observe/slots/ledger.h"
#include "shmem/names.h"

PG_FUNCTION_INFO_V1(pool_exhaust_refusals_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_refused_services_rows);

/* The rows of view pool_exhaust_refusals. */
Datum
pool_exhaust_refusals_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);

	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		RefusalCounter *counter = &shared->refusals[i];

		row_text(&row, cause_kinds[i].name);
		row_text(&row, cause_kinds[i].sqlstate);
		row_bigint(&row, (int64) ledger_refusals(i));
		row_time(&row, pg_atomic_read_u64(&counter->first_at));
		row_time(&row, pg_atomic_read_u64(&counter->last_at));
		row_int(&row, cause_kinds[i].http_status);
		row_end(&row);
	}
	return (Datum) 0;
}

static void
refused_put(RowBuilder *row, const char *cause, const char *names[3],
			uint64 refusals, uint64 last_at)
{
	row_text(row, cause);
	for (int i = 0; i < 3; i++)
		row_text(row, names[i]);
	row_bigint(row, (int64) refusals);
	row_time(row, last_at);
	row_end(row);
}

/* The rows of view pool_exhaust_refused_services, which adds up equal names. */
Datum
pool_exhaust_refused_services_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	uint64		others;

	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->refused, i);
		const Names *names;

		if (entry == NULL)
			continue;
		names = &entry->names;
		refused_put(&row, cause_kinds[names->cause].name,
					(const char *[]) {names->usename, names->datname, names->application_name},
					pg_atomic_read_u64(&entry->count),
					pg_atomic_read_u64(&entry->last_at));
	}
	others = pg_atomic_read_u64(&shared->refused.others);
	if (others > 0)
		refused_put(&row, NAMES_OTHERS,
					(const char *[]) {NAMES_OTHERS, NAMES_OTHERS, NAMES_OTHERS}, others,
					pg_atomic_read_u64(&shared->refused.others_at));
	return (Datum) 0;
}

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
		row_time(&row, ledger_cause_blind_since(i));
		row_end(&row);
	}
	return (Datum) 0;
}

static void
refused_put(RowBuilder *row, const char *cause, const Names *names, uint64 refusals, uint64 last_at)
{
	row_text(row, cause);
	row_text(row, names->usename);
	row_text(row, names->datname);
	row_text(row, names->application_name);
	row_bigint(row, (int64) refusals);
	row_time(row, last_at);
	row_address(row, names->client_addr);
	row_end(row);
}

static void
refused_put_table(RowBuilder *row, NameTable *table)
{
	uint64		others = pg_atomic_read_u64(&table->others);
	Names		names;

	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(table, i);

		if (entry != NULL)
			refused_put(row, cause_kinds[entry->names.cause].name, &entry->names,
						pg_atomic_read_u64(&entry->count), pg_atomic_read_u64(&entry->last_at));
	}
	names_fill(&names, CAUSE_NONE, NAMES_OTHERS, NAMES_OTHERS, NAMES_OTHERS);
	if (others > 0)
		refused_put(row, NAMES_OTHERS, &names, others, pg_atomic_read_u64(&table->others_at));
}

/* The rows of view pool_exhaust_refused_services, which adds up equal names. */
Datum
pool_exhaust_refused_services_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);

	for (int i = 0; i < ADDRESS_SCOPES; i++)
		refused_put_table(&row, &shared->refused[i]);
	return (Datum) 0;
}

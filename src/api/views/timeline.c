/*
 * timeline.c
 *		The rows of view pool_exhaust_timeline.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/rows.h"
#include "observe/monitor/timeline.h"

PG_FUNCTION_INFO_V1(pool_exhaust_timeline_rows);

static void
timeline_put(RowBuilder *row, const TimelineRow *sample)
{
	row_time(row, (uint64) sample->at);
	row_int(row, sample->in_use);
	row_int(row, sample->active);
	row_int(row, sample->idle);
	row_int(row, sample->idle_in_transaction);
	row_utilization(row, sample->in_use, sample->capacity);
	row_bigint(row, (int64) sample->refused);
	row_bigint(row, (int64) sample->opened);
	row_text(row, health_names[sample->health]);
	row_end(row);
}

/* The rows of view pool_exhaust_timeline. */
Datum
pool_exhaust_timeline_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	TimelineRow *rows = palloc_extended(sizeof(TimelineRow) * timeline_length, MCXT_ALLOC_HUGE);
	int			n = timeline_copy(rows);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		timeline_put(&row, &rows[i]);
	}
	return (Datum) 0;
}

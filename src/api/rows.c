/*
 * rows.c
 *		Rows of set-returning functions, built column by column.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "api/rows.h"
#include "shmem/shared.h"

RowBuilder
rows_begin(FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
	return (RowBuilder) {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
}

RowBuilder
view_begin(FunctionCallInfo fcinfo)
{
	shared_require();
	return rows_begin(fcinfo);
}

static void
row_put(RowBuilder *row, Datum value, bool isnull)
{
	if (row->n == ROW_COLUMNS_MAX)
		elog(ERROR, "a row has more than %d columns", ROW_COLUMNS_MAX);
	row->values[row->n] = value;
	row->nulls[row->n++] = isnull;
}

void
row_text(RowBuilder *row, const char *value)
{
	row_put(row, value != NULL ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

void
row_int(RowBuilder *row, int32 value)
{
	row_put(row, Int32GetDatum(value), false);
}

void
row_bigint(RowBuilder *row, int64 value)
{
	row_put(row, Int64GetDatum(value), false);
}

void
row_value(RowBuilder *row, Datum value)
{
	row_put(row, value, false);
}

void
row_int_if(RowBuilder *row, bool known, int32 value)
{
	row_put(row, Int32GetDatum(value), !known);
}

void
row_bigint_if(RowBuilder *row, bool known, int64 value)
{
	row_put(row, Int64GetDatum(value), !known);
}

void
row_float_if(RowBuilder *row, bool known, double value)
{
	row_put(row, Float8GetDatum(value), !known);
}

void
row_utilization(RowBuilder *row, int in_use, int capacity)
{
	row_float_if(row, capacity > 0, rint(1e4 * in_use / Max(capacity, 1)) / 1e4);
}

void
row_time(RowBuilder *row, uint64 at)
{
	row_put(row, TimestampTzGetDatum((TimestampTz) at), at == 0);
}

void
row_address(RowBuilder *row, const char *address)
{
	bool		known = address[0] != '\0';

	row_put(row, known ? DirectFunctionCall1(inet_in, CStringGetDatum(address)) : (Datum) 0, !known);
}

void
row_json(RowBuilder *row, const char *json)
{
	row_put(row, json != NULL ? DirectFunctionCall1(jsonb_in, CStringGetDatum(json)) : (Datum) 0, json == NULL);
}

void
row_end(RowBuilder *row)
{
	TupleDesc	desc = row->rsinfo->setDesc;

	if (row->n < desc->natts)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the SQL objects of pool_exhaust are of a newer version than its library"),
				 errdetail("A row has %d columns, and its function is declared with %d.",
						   row->n, desc->natts),
				 errhint("Install the library of that version and restart the server.")));
	tuplestore_putvalues(row->rsinfo->setResult, desc, row->values, row->nulls);
	row->n = 0;
}

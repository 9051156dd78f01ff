/*
 * rows.h
 *		Rows of set-returning functions, built column by column.
 *
 * For the backend that runs the function: all of these may throw.  Values are
 * copied; the rows belong to the tuplestore of the call.
 */
#pragma once

#include "funcapi.h"

#define ROW_COLUMNS_MAX	32

typedef struct RowBuilder
{
	ReturnSetInfo *rsinfo;
	int			n;				/* columns that the row has so far */
	Datum		values[ROW_COLUMNS_MAX];
	bool		nulls[ROW_COLUMNS_MAX];
} RowBuilder;

/*
 * Begins the result; an error if the caller does not accept a set, and, for a view of
 * shared memory, if the library was not preloaded.
 */
extern RowBuilder rows_begin(FunctionCallInfo fcinfo);
extern RowBuilder view_begin(FunctionCallInfo fcinfo);

/* Each appends one column. */
extern void row_text(RowBuilder *row, const char *value);	/* NULL: null */
extern void row_int(RowBuilder *row, int32 value);
extern void row_bigint(RowBuilder *row, int64 value);
extern void row_value(RowBuilder *row, Datum value);
extern void row_utilization(RowBuilder *row, int in_use, int capacity);	/* 4 decimals; no capacity: null */
extern void row_time(RowBuilder *row, uint64 at);	/* a TimestampTz; 0: null */
extern void row_json(RowBuilder *row, const char *json);	/* as jsonb; NULL: null */
extern void row_address(RowBuilder *row, const char *address);	/* as inet; empty: null */

/* The value, or null if it is not known. */
extern void row_int_if(RowBuilder *row, bool known, int32 value);
extern void row_bigint_if(RowBuilder *row, bool known, int64 value);
extern void row_float_if(RowBuilder *row, bool known, double value);

/*
 * Stores the row and begins the next.  Columns are only ever added at the end, so the
 * SQL objects of an older version have fewer; an error if they have more than the row.
 */
extern void row_end(RowBuilder *row);

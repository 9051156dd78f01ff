/*
 * slots.c
 *		The row of view pool_exhaust_slots, and pool_exhaust_headroom().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "observe/slots/census.h"
#include "observe/slots/limit.h"

PG_FUNCTION_INFO_V1(pool_exhaust_census);
PG_FUNCTION_INFO_V1(pool_exhaust_headroom);

/* The one row of view pool_exhaust_slots. */
Datum
pool_exhaust_census(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Census		census;
	Datum		values[9];
	bool		nulls[9] = {false};
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	census_take(&census);
	values[n++] = Int32GetDatum(MaxConnections);
	values[n++] = Int32GetDatum(SuperuserReservedConnections);
	values[n++] = Int32GetDatum(ReservedConnections);
	values[n++] = Int32GetDatum(census.capacity);
	values[n++] = Int32GetDatum(census.in_use);
	values[n++] = Int32GetDatum(census.free);
	values[n++] = Int32GetDatum(census.authenticating);
	values[n++] = Int32GetDatum(census.walsenders);
	values[n++] = Int32GetDatum(census.workers);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* SQL: pool_exhaust_headroom(). */
Datum
pool_exhaust_headroom(PG_FUNCTION_ARGS)
{
	Oid			database = get_database_oid(text_to_cstring(PG_GETARG_TEXT_PP(1)), false);

	PG_RETURN_INT32(limit_headroom(PG_GETARG_OID(0), database));
}

/*
 * sample.c
 *		Median, MAD and the test of Mann and Whitney as SQL functions of arrays.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "base/rank_test.h"

PG_FUNCTION_INFO_V1(pool_exhaust_mann_whitney);
PG_FUNCTION_INFO_V1(pool_exhaust_median);
PG_FUNCTION_INFO_V1(pool_exhaust_mad);

typedef struct Numbers
{
	int			n;
	double	   *values;			/* a copy */
} Numbers;

/* Argument n, a float8[]; ERROR if an element is NULL or NaN. */
static Numbers
numbers_arg(FunctionCallInfo fcinfo, int n)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P_COPY(n);
	Numbers		sample = {ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), (double *) ARR_DATA_PTR(array)};
	bool		numbers = !array_contains_nulls(array);

	for (int i = 0; numbers && i < sample.n; i++)
		numbers = !isnan(sample.values[i]);
	if (!numbers)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a value of the sample is NULL or NaN"),
				 errhint("Leave such values out: array_agg(value) FILTER (WHERE value < 'NaN').")));
	return sample;
}

/* pool_exhaust_mann_whitney(base float8[], candidate float8[], exact_ties boolean) RETURNS float8; NULL if one is empty. */
Datum
pool_exhaust_mann_whitney(PG_FUNCTION_ARGS)
{
	Numbers		base = numbers_arg(fcinfo, 0);
	Numbers		candidate = numbers_arg(fcinfo, 1);

	if (base.n == 0 || candidate.n == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(rank_test(base.n, base.values, candidate.n, candidate.values, PG_GETARG_BOOL(2)));
}

/* pool_exhaust_median(sample float8[]) RETURNS float8; NULL if it is empty. */
Datum
pool_exhaust_median(PG_FUNCTION_ARGS)
{
	Numbers		sample = numbers_arg(fcinfo, 0);

	if (sample.n == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(sample_median(sample.n, sample.values));
}

/* pool_exhaust_mad(sample float8[]) RETURNS float8; NULL if it is empty. */
Datum
pool_exhaust_mad(PG_FUNCTION_ARGS)
{
	Numbers		sample = numbers_arg(fcinfo, 0);

	if (sample.n == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(sample_mad(sample.n, sample.values));
}

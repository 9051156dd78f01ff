/*
 * histograms.c
 *		Percentiles and sums of the histograms of pool_exhaust_histograms.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/buckets.h"

PG_FUNCTION_INFO_V1(pool_exhaust_percentile);
PG_FUNCTION_INFO_V1(pool_exhaust_merge_buckets);

/* pool_exhaust_percentile(buckets bigint[], fraction float8) RETURNS float8; NULL of an empty histogram. */
Datum
pool_exhaust_percentile(PG_FUNCTION_ARGS)
{
	Buckets		buckets = buckets_of(PG_GETARG_DATUM(0));
	double		fraction = PG_GETARG_FLOAT8(1);
	double		value;

	if (!(fraction >= 0 && fraction <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("fraction is %g, which is not between 0 and 1", fraction),
				 errhint("0.99 is for p99.")));
	value = buckets_percentile(&buckets, fraction);
	if (value < 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(value);
}

/* pool_exhaust_merge_buckets(a bigint[], b bigint[]) RETURNS bigint[] */
Datum
pool_exhaust_merge_buckets(PG_FUNCTION_ARGS)
{
	Buckets		a = buckets_of(PG_GETARG_DATUM(0));
	Buckets		b = buckets_of(PG_GETARG_DATUM(1));
	Buckets		both = buckets_merge(&a, &b);

	PG_RETURN_DATUM(buckets_datum(both.n, both.pairs));
}

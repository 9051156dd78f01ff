/*
 * buckets.c
 *		A histogram as table pool_exhaust_histograms has it.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "utils/array.h"

#include "base/buckets.h"

/* Returns the array of these pairs, palloc'd. */
Datum
buckets_datum(int n, const int64 *pairs)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(2 * n, 1));
	int			dims[] = {n, 2};
	int			bounds[] = {1, 1};

	for (int i = 0; i < 2 * n; i++)
		values[i] = Int64GetDatum(pairs[i]);
	if (n == 0)
		return PointerGetDatum(construct_empty_array(INT8OID));
	return PointerGetDatum(construct_md_array(values, NULL, lengthof(dims), dims, bounds,
											  INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
require_buckets(bool right, const char *what)
{
	if (!right)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("not the buckets of a histogram: %s", what),
				 errhint("Column buckets of table pool_exhaust_histograms has them: an array of {largest value, count}, ascending.")));
}

/* Returns the pairs of such an array, palloc'd or in it; ERROR if it is not one. */
Buckets
buckets_of(Datum datum)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	const int64 *pairs = (const int64 *) ARR_DATA_PTR(array);
	int			n = 0;

	if (ARR_NDIM(array) > 0)
	{
		require_buckets(ARR_NDIM(array) == 2 && ARR_DIMS(array)[1] == 2, "its rows are not pairs");
		require_buckets(!array_contains_nulls(array), "an element is NULL");
		n = ARR_DIMS(array)[0];
	}
	for (int i = 0; i < n; i++)
	{
		require_buckets(pairs[2 * i] >= 0 && pairs[2 * i + 1] >= 0, "a number is negative");
		require_buckets(i == 0 || pairs[2 * i] > pairs[2 * i - 2], "the values do not ascend");
	}
	return (Buckets) {n, pairs};
}

/* Returns how many values there are. */
double
buckets_count(const Buckets *buckets)
{
	double		all = 0;

	for (int i = 0; i < buckets->n; i++)
		all += buckets->pairs[2 * i + 1];
	return all;
}

/*
 * Returns the value that this fraction (0 to 1) of all values does not exceed, as
 * histogram_ms() does; -1 if there are none.
 */
double
buckets_percentile(const Buckets *buckets, double fraction)
{
	double		all = buckets_count(buckets);
	double		seen = 0;
	double		rank;

	if (all == 0)
		return -1;
	rank = Min(floor(fraction * all), all - 1);
	for (int i = 0; i < buckets->n; i++)
	{
		seen += buckets->pairs[2 * i + 1];
		if (seen > rank)
			return buckets->pairs[2 * i];
	}
	return buckets->pairs[2 * buckets->n - 2];
}

/*
 * Returns how far that percentile of such a sample is from that of what it is drawn
 * from, by chance: its standard error, from the order statistics that are one standard
 * deviation of the rank below and above it.  0 if there are no values.
 */
double
buckets_noise(const Buckets *buckets, double fraction)
{
	double		all = buckets_count(buckets);
	double		reach;

	if (all == 0)
		return 0;
	reach = sqrt(fraction * (1 - fraction) / all);
	return (buckets_percentile(buckets, Min(fraction + reach, 1)) - buckets_percentile(buckets, Max(fraction - reach, 0))) / 2;
}

/* The sum of two counts; ERROR if that is out of range. */
static int64
add(int64 a, int64 b)
{
	int64		sum;

	if (pg_add_s64_overflow(a, b, &sum))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("bigint out of range")));
	return sum;
}

/* Returns both together, palloc'd: as if each value had been added to one of them. */
Buckets
buckets_merge(const Buckets *a, const Buckets *b)
{
	int64	   *pairs = palloc(sizeof(int64) * Max(2 * (a->n + b->n), 1));
	int			n = 0;

	for (int i = 0, j = 0; i < a->n || j < b->n; n++)
	{
		int64		next = i == a->n || (j < b->n && b->pairs[2 * j] < a->pairs[2 * i])
			? b->pairs[2 * j] : a->pairs[2 * i];

		pairs[2 * n] = next;
		pairs[2 * n + 1] = 0;
		if (i < a->n && a->pairs[2 * i] == next)
			pairs[2 * n + 1] = add(pairs[2 * n + 1], a->pairs[2 * i++ + 1]);
		if (j < b->n && b->pairs[2 * j] == next)
			pairs[2 * n + 1] = add(pairs[2 * n + 1], b->pairs[2 * j++ + 1]);
	}
	return (Buckets) {n, pairs};
}

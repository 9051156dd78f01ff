/*
 * rank_test.c
 *		The test of Mann and Whitney (1947), two-sided, and median and MAD.
 *
 * U counts the pairs of a candidate and a base of which the candidate is larger;
 * pairs of equal values count half.  The p value is how probable a U is that is as
 * far from its mean, if both samples come from the same distribution: for small
 * samples it is counted over all ways to draw the one from both together, for
 * others U is taken as normal, with a correction of its deviation for ties and one
 * of 0.5 for its steps (Lehmann, Nonparametrics, 1975, section 1.2 and 1.3).  These
 * are method "exact", "asymptotic" and the choice "auto" of scipy.stats.mannwhitneyu.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "base/rank_test.h"

/* Beyond these the p value is not counted: of the smaller sample, and of the larger. */
#define EXACT_SMALLER	8
#define EXACT_LARGER	1000

/* Both samples together.  Ranks are doubled, so that those of ties are whole. */
typedef struct Ranked
{
	int			n1;				/* of the smaller sample */
	int			n2;
	int		   *ranks;			/* of all n1 + n2 values, ascending; 2 is the lowest */
	int64		sum;			/* of those of the smaller sample */
	double		ties;			/* sum of t^3 - t over each t equal values */
} Ranked;

typedef struct Value
{
	double		value;
	bool		smaller;		/* it is of the smaller sample */
} Value;

static int
value_compare(const void *a, const void *b)
{
	double		x = ((const Value *) a)->value;
	double		y = ((const Value *) b)->value;

	return (x > y) - (x < y);
}

/* Both in one array, ascending; palloc'd. */
static Value *
values_sorted(int n1, const double *smaller, int n2, const double *larger)
{
	Value	   *values = palloc(sizeof(Value) * (n1 + n2));

	for (int i = 0; i < n1; i++)
		values[i] = (Value) {smaller[i], true};
	for (int i = 0; i < n2; i++)
		values[n1 + i] = (Value) {larger[i], false};
	qsort(values, n1 + n2, sizeof(Value), value_compare);
	return values;
}

/* Its ranks are palloc'd. */
static Ranked
ranked_of(int n1, const double *smaller, int n2, const double *larger)
{
	Ranked		r = {n1, n2, palloc(sizeof(int) * (n1 + n2))};
	Value	   *values = values_sorted(n1, smaller, n2, larger);

	for (int begin = 0, end; begin < n1 + n2; begin = end)
	{
		double		t;

		for (end = begin + 1; end < n1 + n2 && values[end].value == values[begin].value;)
			end++;
		t = end - begin;
		r.ties += t * t * t - t;
		for (int i = begin; i < end; i++)
		{
			r.ranks[i] = begin + end + 1;	/* the mean of begin + 1 to end, doubled */
			r.sum += values[i].smaller ? r.ranks[i] : 0;
		}
	}
	pfree(values);
	return r;
}

/* Returns how far U is from its mean, doubled. */
static int64
ranked_distance(const Ranked *r)
{
	return llabs(r->sum - (int64) r->n1 * (r->n1 + r->n2 + 1));
}

/*
 * Returns in how many ways n1 of the ranks add up to each sum, up to "most", the largest
 * there is; palloc'd.  Counts beyond 2^53 are rounded.
 */
static double *
ways_of(const Ranked *r, int most)
{
	double	  **ways = palloc(sizeof(double *) * (r->n1 + 1));	/* by how many are drawn */

	for (int drawn = 0; drawn <= r->n1; drawn++)
		ways[drawn] = palloc0(sizeof(double) * (most + 1));
	ways[0][0] = 1;
	for (int i = 0; i < r->n1 + r->n2; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int drawn = Min(i + 1, r->n1); drawn > 0; drawn--)
			for (int sum = r->ranks[i]; sum <= drawn * r->ranks[i]; sum++)	/* the ranks ascend */
				ways[drawn][sum] += ways[drawn - 1][sum - r->ranks[i]];
	}
	return ways[r->n1];
}

/* The share of the ways to draw the smaller sample with a U that is as far from its mean. */
static double
p_exact(const Ranked *r)
{
	int			n = r->n1 + r->n2;
	int			most = r->n1 * 2 * n;
	const double *ways = ways_of(r, most);
	double		as_far = 0;
	double		all = 0;

	for (int sum = 0; sum <= most; sum++)
	{
		all += ways[sum];
		if (abs(sum - r->n1 * (n + 1)) >= ranked_distance(r))
			as_far += ways[sum];
	}
	return as_far / all;
}

static double
p_normal(const Ranked *r)
{
	double		n = (double) r->n1 + r->n2;
	double		deviation = sqrt(r->n1 * (double) r->n2 / 12 * (n + 1 - r->ties / (n * (n - 1))));
	double		distance = ranked_distance(r) / 2.0 - 0.5;

	if (deviation == 0)
		return 1;				/* all are equal */
	return Min(erfc(distance / deviation / M_SQRT2), 1);
}

/*
 * Returns the p value of these samples, neither of which is empty.  Where one of them
 * has up to EXACT_SMALLER values and the other up to EXACT_LARGER, it is exact if no
 * values are equal, or "exact_ties" is set; without that, it is scipy's.  Allocates.
 */
double
rank_test(int nbase, const double *base, int ncandidate, const double *candidate, bool exact_ties)
{
	Ranked		r = nbase <= ncandidate ? ranked_of(nbase, base, ncandidate, candidate)
		: ranked_of(ncandidate, candidate, nbase, base);

	if (r.n1 <= EXACT_SMALLER && r.n2 <= EXACT_LARGER && (exact_ties || r.ties == 0))
		return p_exact(&r);
	return p_normal(&r);
}

static int
double_compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Returns the median of a sample that is not empty, which is sorted. */
double
sample_median(int n, double *sample)
{
	qsort(sample, n, sizeof(double), double_compare);
	return (sample[(n - 1) / 2] + sample[n / 2]) / 2;
}

/* Returns the median distance from the median of a sample that is not empty, which is replaced. */
double
sample_mad(int n, double *sample)
{
	double		median = sample_median(n, sample);

	for (int i = 0; i < n; i++)
		sample[i] = fabs(sample[i] - median);
	return sample_median(n, sample);
}

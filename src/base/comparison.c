/*
 * comparison.c
 *		One comparison of expected and observed, in numbers.
 */
#include "postgres.h"

#include <math.h>

#include "base/comparison.h"

/* What there is to know of an operator. */
typedef struct OperatorType
{
	const char *word;			/* in pool_exhaust_checks.operator */
	bool		tolerance;		/* it has one */
	bool		(*holds) (const Comparison *c);
	char	   *(*expected) (const Comparison *c);	/* in words, palloc'd */
	char	   *(*observed) (const Comparison *c);
} OperatorType;

static bool
equal_holds(const Comparison *c)
{
	return c->observed == c->expected;
}

static char *
count_text(double count)
{
	return psprintf("%.0f", count);
}

static char *
equal_expected(const Comparison *c)
{
	return count_text(c->expected);
}

static char *
equal_observed(const Comparison *c)
{
	return count_text(c->observed);
}

static char *
rise_expected(const Comparison *c)
{
	return psprintf("+%.0f", c->expected);
}

static char *
rise_observed(const Comparison *c)
{
	return psprintf("+%.0f", c->observed);
}

static char *
measured_observed(const Comparison *c)
{
	return psprintf("%.4g", c->observed);
}

static bool
at_most_holds(const Comparison *c)
{
	return c->observed <= c->expected;
}

static char *
at_most_expected(const Comparison *c)
{
	return psprintf("<= %.6g", c->expected);
}

static bool
at_least_holds(const Comparison *c)
{
	return c->observed >= c->expected;
}

static char *
at_least_expected(const Comparison *c)
{
	return psprintf(">= %.6g", c->expected);
}

static bool
near_holds(const Comparison *c)
{
	return fabs(c->observed - c->expected) <= c->tolerance;
}

static char *
near_expected(const Comparison *c)
{
	return psprintf("%.4g +- %.3g", c->expected, c->tolerance);
}

static bool
up_to_holds(const Comparison *c)
{
	return c->observed >= c->expected && c->observed <= c->expected + c->tolerance;
}

static char *
up_to_expected(const Comparison *c)
{
	return c->expected == 0
		? psprintf("<= %.0f (chaos)", c->tolerance)
		: psprintf("%.0f to %.0f (chaos)", c->expected, c->expected + c->tolerance);
}

static const OperatorType operator_types[] = {
	[OPERATOR_EQUAL] = {"=", false, equal_holds, equal_expected, equal_observed},
	[OPERATOR_RISE] = {"+=", false, equal_holds, rise_expected, rise_observed},
	[OPERATOR_AT_MOST] = {"<=", false, at_most_holds, at_most_expected, measured_observed},
	[OPERATOR_AT_LEAST] = {">=", false, at_least_holds, at_least_expected, measured_observed},
	[OPERATOR_NEAR] = {"+-", true, near_holds, near_expected, measured_observed},
	[OPERATOR_UP_TO] = {"up to", true, up_to_holds, up_to_expected, equal_observed},
};

StaticAssertDecl(lengthof(operator_types) == OPERATORS, "every operator has a row");

/* Returns whether observed is as expected.  The operator must not be OPERATOR_NONE. */
bool
comparison_holds(const Comparison *c)
{
	return operator_types[c->operator].holds(c);
}

/* Returns whether its operator allows a tolerance. */
bool
comparison_has_tolerance(const Comparison *c)
{
	return operator_types[c->operator].tolerance;
}

/* Returns the word of an operator in the tables of results; NULL for OPERATOR_NONE. */
const char *
operator_word(Operator operator)
{
	return operator_types[operator].word;
}

/* Returns the operator of that word, OPERATOR_NONE if there is none. */
Operator
operator_find(const char *word)
{
	for (Operator operator = OPERATOR_EQUAL; operator < OPERATORS; operator++)
		if (strcmp(operator_types[operator].word, word) == 0)
			return operator;
	return OPERATOR_NONE;
}

/* Returns what was expected in words, like "<= 5", without the unit; palloc'd. */
char *
comparison_expected(const Comparison *c)
{
	return operator_types[c->operator].expected(c);
}

/* Returns what was observed, without the unit; palloc'd. */
char *
comparison_observed(const Comparison *c)
{
	return operator_types[c->operator].observed(c);
}

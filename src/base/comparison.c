/*
 * comparison.c
 *		One comparison of expected and observed, in numbers.
 */
#include "postgres.h"

#include <math.h>

#include "base/comparison.h"
#include "base/text.h"

/* How far observed may be from expected, below or above it. */
typedef enum Reach
{
	REACH_NONE,
	REACH_TOLERANCE,
	REACH_ANY
} Reach;

/* What there is to know of an operator. */
typedef struct OperatorType
{
	const char *word;			/* in pool_exhaust_checks.operator */
	Reach		below;
	Reach		above;
	const char *sign;			/* before the expected number */
	const char *observed_sign;	/* before the observed one */
	char	   *(*expected_text) (const Comparison *c); /* palloc'd; NULL: sign and number */
} OperatorType;

static char *
up_to_text(const Comparison *c)
{
	return c->expected == 0
		? psprintf("<= %s (chaos)", number_text(c->tolerance))
		: psprintf("%s to %s (chaos)", number_text(c->expected), number_text(c->expected + c->tolerance));
}

static char *
near_text(const Comparison *c)
{
	return psprintf("%s +- %s", number_text(c->expected), number_text(c->tolerance));
}

static char *
rise_up_to_text(const Comparison *c)
{
	return psprintf("+%s to +%s", number_text(c->expected), number_text(c->expected + c->tolerance));
}

static const OperatorType operator_types[] = {
	[OPERATOR_EQUAL] = {"=", REACH_NONE, REACH_NONE, "", ""},
	[OPERATOR_RISE] = {"+=", REACH_NONE, REACH_NONE, "+", "+"},
	[OPERATOR_AT_MOST] = {"<=", REACH_ANY, REACH_NONE, "<= ", ""},
	[OPERATOR_AT_LEAST] = {">=", REACH_NONE, REACH_ANY, ">= ", ""},
	[OPERATOR_NEAR] = {"+-", REACH_TOLERANCE, REACH_TOLERANCE, "", "", near_text},
	[OPERATOR_UP_TO] = {"up to", REACH_NONE, REACH_TOLERANCE, "", "", up_to_text},
	[OPERATOR_RISE_UP_TO] = {"+= up to", REACH_NONE, REACH_TOLERANCE, "", "+", rise_up_to_text},
};

StaticAssertDecl(lengthof(operator_types) == OPERATORS, "every operator has a row");

static double
reach_of(Reach reach, const Comparison *c)
{
	return reach == REACH_ANY ? INFINITY : reach == REACH_TOLERANCE ? c->tolerance : 0;
}

/* Returns whether observed is as expected.  The operator must not be OPERATOR_NONE. */
bool
comparison_holds(const Comparison *c)
{
	const OperatorType *type = &operator_types[c->operator];
	double		beyond = c->observed - c->expected;

	return beyond >= -reach_of(type->below, c) && beyond <= reach_of(type->above, c);
}

/* Returns whether its operator allows a tolerance. */
bool
comparison_has_tolerance(const Comparison *c)
{
	return operator_types[c->operator].above == REACH_TOLERANCE;
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
	const OperatorType *type = &operator_types[c->operator];

	return type->expected_text != NULL ? type->expected_text(c)
		: psprintf("%s%s", type->sign, number_text(c->expected));
}

/*
 * Returns what was observed, without the unit; palloc'd.  What misses the expected
 * number by little has the digits that show it.
 */
char *
comparison_observed(const Comparison *c)
{
	char	   *text = number_text(c->observed);

	if (!comparison_holds(c) && strcmp(text, number_text(c->expected)) == 0)
		text = psprintf("%.6f", c->observed);
	return psprintf("%s%s", c->observed < 0 ? "" : operator_types[c->operator].observed_sign, text);
}

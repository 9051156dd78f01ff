/*
 * comparison.h
 *		One comparison of expected and observed, in numbers.
 *
 * Stories compare, results store the numbers, and only writers turn them into
 * words.  The operators, their words in pool_exhaust_checks.operator and what
 * each compares are one table in comparison.c.
 */
#pragma once

typedef enum Operator
{
	OPERATOR_NONE,				/* texts, or nothing, were compared */
	OPERATOR_EQUAL,				/* counts: observed = expected */
	OPERATOR_RISE,				/* a counter rose by exactly that much */
	OPERATOR_AT_MOST,			/* observed <= expected */
	OPERATOR_AT_LEAST,			/* observed >= expected */
	OPERATOR_NEAR,				/* |observed - expected| <= tolerance */
	OPERATOR_UP_TO,				/* a count: expected <= observed <= expected + tolerance */
	OPERATOR_RISE_UP_TO			/* a counter rose by that much, or up to tolerance more */
} Operator;

#define OPERATORS	(OPERATOR_RISE_UP_TO + 1)

typedef struct Comparison
{
	Operator	operator;
	double		expected;
	double		tolerance;		/* of OPERATOR_NEAR, _UP_TO and _RISE_UP_TO */
	double		observed;
} Comparison;

extern bool comparison_holds(const Comparison *c);
extern bool comparison_has_tolerance(const Comparison *c);
extern const char *operator_word(Operator operator);
extern Operator operator_find(const char *word);
extern char *comparison_expected(const Comparison *c);
extern char *comparison_observed(const Comparison *c);

/*
 * check.c
 *		Claims: one comparison of expected and observed each.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/text.h"
#include "story/story.h"

/* Returns what was expected in words; palloc'd, or the run's. */
const char *
check_expected(const Check *check)
{
	if (check->comparison.operator != OPERATOR_NONE)
		return comparison_expected(&check->comparison);
	return check->expected != NULL ? check->expected : "";
}

/* Returns what was observed in words; palloc'd, or the run's. */
const char *
check_observed(const Check *check)
{
	if (check->comparison.operator != OPERATOR_NONE)
		return comparison_observed(&check->comparison);
	return check->observed != NULL ? check->observed : "";
}

static bool
logins_given_up(const Run *run)
{
	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].pool != NULL && run->parties[i].pool->stats.given_up > 0)
			return true;
	return false;
}

/*
 * Returns whether a machine that is too busy can break it: it compares what was
 * measured, or comes after a wait or a login that took too long.
 */
static bool
check_depends_on_time(const Run *run, const Check *check)
{
	return run->out_of_time || logins_given_up(run) || check->comparison.operator == OPERATOR_NEAR ||
		strcmp(check->unit, "ms") == 0 || check->of_speed;
}

/* Returns a copy of the text that is fit to be shown, of the run. */
static const char *
text_for_run(Run *run, const char *text)
{
	char	   *copy = MemoryContextStrdup(run->context, text);

	text_make_printable(copy);
	return copy;
}

/* Adds a check to the run's; one that has failed is reported at once. */
static void
check_add(Run *run, Check check)
{
	if (run->nchecks >= CHECKS_MAX)
		elog(ERROR, "a scenario makes more than %d checks", CHECKS_MAX);
	check.phase = run->nphases > 0 ? run->phases[run->nphases - 1].name : "";
	check.detail = check.outcome == OUTCOME_PASS ? "" : text_for_run(run, check.detail);
	check.of_speed = strcmp(check.unit, "%") == 0;
	check.of_time = check_depends_on_time(run, &check);
	run->checks[run->nchecks++] = check;
	if (check.outcome == OUTCOME_FAIL)
		run_say(run, "FAIL  %s: expected %s, observed %s", check.name,
				check_expected(&check), check_observed(&check));
}

static void
check_numbers(Run *run, const char *name, Comparison comparison, const char *unit, const char *detail)
{
	check_add(run, (Check) {
		.name = name,
		.outcome = comparison_holds(&comparison) ? OUTCOME_PASS : OUTCOME_FAIL,
		.comparison = comparison,
		.unit = unit,
		.detail = detail,
	});
}

/* The two numbers are the same. */
void
check_count(Run *run, const char *name, int64 expected, int64 observed, const char *detail)
{
	check_numbers(run, name, (Comparison) {OPERATOR_EQUAL, expected, 0, observed}, "", detail);
}

/* The first is expected, but chaos may have made it as many more as it is excused. */
void
check_chaos(Run *run, const char *name, int64 expected, uint64 excused, int64 observed,
			const char *detail)
{
	if (excused == 0)
		check_count(run, name, expected, observed, detail);
	else
		check_numbers(run, name, (Comparison) {OPERATOR_UP_TO, expected, excused, observed}, "", detail);
}

/* A counter rose by that much, or by up to "unsure" more. */
void
check_rise(Run *run, const char *name, int64 expected, int64 unsure, int64 observed, const char *detail)
{
	Operator	operator = unsure > 0 ? OPERATOR_RISE_UP_TO : OPERATOR_RISE;

	check_numbers(run, name, (Comparison) {operator, expected, unsure, observed}, "", detail);
}

/* A measured value stays within its limit. */
void
check_at_most(Run *run, const char *name, double limit, double observed,
			  const char *unit, const char *detail)
{
	check_numbers(run, name, (Comparison) {OPERATOR_AT_MOST, limit, 0, observed}, unit, detail);
}

/* A measured value reaches what it must. */
void
check_at_least(Run *run, const char *name, double limit, double observed,
			   const char *unit, const char *detail)
{
	check_numbers(run, name, (Comparison) {OPERATOR_AT_LEAST, limit, 0, observed}, unit, detail);
}

/* A measured value is the expected one, give or take the tolerance. */
void
check_near(Run *run, const char *name, double expected, double tolerance,
		   double observed, const char *unit, const char *detail)
{
	check_numbers(run, name, (Comparison) {OPERATOR_NEAR, expected, tolerance, observed}, unit, detail);
}

/* Returns that text for the report, of the run. */
static const char *
text_or_none(Run *run, const char *text)
{
	return text[0] != '\0' ? text_for_run(run, text) : "none";
}

/* The two texts are the same; an empty one reads "none". */
void
check_text(Run *run, const char *name, const char *expected, const char *observed,
		   const char *detail)
{
	check_add(run, (Check) {
		.name = name,
		.outcome = strcmp(expected, observed) == 0 ? OUTCOME_PASS : OUTCOME_FAIL,
		.expected = text_or_none(run, expected),
		.observed = text_or_none(run, observed),
		.unit = "",
		.detail = detail,
	});
}

/* The two words are the same, like verdicts; "detail" is kept either way. */
void
check_words(Run *run, const char *name, const char *expected, const char *observed, const char *detail)
{
	check_text(run, name, expected, observed, detail);
	run->checks[run->nchecks - 1].detail = text_for_run(run, detail);
}

/* The claim could not be tried, and that is no failure; "why" is the reason. */
void
check_skip(Run *run, const char *name, const char *why)
{
	check_add(run, (Check) {.name = name, .outcome = OUTCOME_SKIP, .unit = "", .detail = why});
}

/* The latest check counts what depends on how fast the machine is, like requests that timed out. */
void
check_was_of_time(Run *run)
{
	run->checks[run->nchecks - 1].of_time = run->checks[run->nchecks - 1].of_speed = true;
}

/* The latest check is broken by a pooler that is so late, too, or by a run that is: it proves nothing then. */
void
check_was_of_delay(Run *run, uint64 late_us)
{
	check_was_of_time(run);
	run->checks[run->nchecks - 1].of_delay_us = late_us;
}

/* Returns whether a claim has failed so far. */
bool
check_failed(const Run *run)
{
	for (int i = 0; i < run->nchecks; i++)
		if (run->checks[i].outcome == OUTCOME_FAIL)
			return true;
	return false;
}

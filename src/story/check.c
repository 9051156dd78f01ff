/*
 * check.c
 *		Claims: one comparison of expected and observed each.
 */
#include "postgres.h"

#include <math.h>

#include "utils/memutils.h"

#include "story/story.h"

static void
check_add(Run *run, const char *name, Outcome outcome, const char *expected,
		  const char *observed, const char *unit, const char *detail)
{
	Check	   *check;

	if (run->nchecks >= CHECKS_MAX)
		elog(ERROR, "a scenario makes more than %d checks", CHECKS_MAX);
	check = &run->checks[run->nchecks++];
	check->phase = run->nphases > 0 ? run->phases[run->nphases - 1].name : "";
	check->name = name;
	check->outcome = outcome;
	check->expected = MemoryContextStrdup(run->context, expected);
	check->observed = MemoryContextStrdup(run->context, observed);
	check->unit = unit;
	check->detail = outcome == OUTCOME_PASS ? "" : MemoryContextStrdup(run->context, detail);
	if (outcome == OUTCOME_FAIL)
		run_say(run, "FAIL  %s: expected %s, observed %s", name, expected, observed);
}

/* The two numbers are the same. */
void
check_count(Run *run, const char *name, int64 expected, int64 observed, const char *detail)
{
	check_add(run, name, expected == observed ? OUTCOME_PASS : OUTCOME_FAIL,
			  psprintf(INT64_FORMAT, expected), psprintf(INT64_FORMAT, observed), "", detail);
}

/* The first is expected, but chaos may have made it as many more as it is excused. */
void
check_chaos(Run *run, const char *name, int64 expected, uint64 excused, int64 observed,
			const char *detail)
{
	int64		most = expected + (int64) excused;

	if (excused == 0)
		check_count(run, name, expected, observed, detail);
	else
		check_add(run, name, observed >= expected && observed <= most ? OUTCOME_PASS : OUTCOME_FAIL,
				  expected == 0 ? psprintf("<= " INT64_FORMAT " (chaos)", most)
				  : psprintf(INT64_FORMAT " to " INT64_FORMAT " (chaos)", expected, most),
				  psprintf(INT64_FORMAT, observed), "", detail);
}

/* A counter rose by that much. */
void
check_rise(Run *run, const char *name, int64 expected, int64 observed, const char *detail)
{
	check_add(run, name, expected == observed ? OUTCOME_PASS : OUTCOME_FAIL,
			  psprintf("+" INT64_FORMAT, expected), psprintf("+" INT64_FORMAT, observed),
			  "", detail);
}

/* A measured value stays within its limit. */
void
check_at_most(Run *run, const char *name, double limit, double observed,
			  const char *unit, const char *detail)
{
	check_add(run, name, observed <= limit ? OUTCOME_PASS : OUTCOME_FAIL,
			  psprintf("<= %.6g", limit), psprintf("%.4g", observed), unit, detail);
}

/* A measured value reaches what it must. */
void
check_at_least(Run *run, const char *name, double limit, double observed,
			   const char *unit, const char *detail)
{
	check_add(run, name, observed >= limit ? OUTCOME_PASS : OUTCOME_FAIL,
			  psprintf(">= %.6g", limit), psprintf("%.4g", observed), unit, detail);
}

/* A measured value is the expected one, give or take the tolerance. */
void
check_near(Run *run, const char *name, double expected, double tolerance,
		   double observed, const char *unit, const char *detail)
{
	check_add(run, name, fabs(observed - expected) <= tolerance ? OUTCOME_PASS : OUTCOME_FAIL,
			  psprintf("%.4g +- %.3g", expected, tolerance), psprintf("%.4g", observed),
			  unit, detail);
}

/* The two texts are the same. */
void
check_text(Run *run, const char *name, const char *expected, const char *observed,
		   const char *detail)
{
	check_add(run, name, strcmp(expected, observed) == 0 ? OUTCOME_PASS : OUTCOME_FAIL,
			  expected, observed, "", detail);
}

/* Another run came to the verdict that it was to come to; "detail" is told either way. */
void
check_verdict(Run *run, const char *name, Verdict expected, Verdict observed, const char *detail)
{
	check_text(run, name, verdict_names[expected], verdict_names[observed], detail);
	run->checks[run->nchecks - 1].detail = MemoryContextStrdup(run->context, detail);
}

/* The claim could not be tried, and that is no failure; "why" is the reason. */
void
check_skip(Run *run, const char *name, const char *why)
{
	check_add(run, name, OUTCOME_SKIP, "", "", "", why);
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

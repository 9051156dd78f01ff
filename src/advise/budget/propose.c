/*
 * propose.c
 *		CONNECTION LIMITs that keep the declared roles from each other, and what they
 *		guarantee.  Nothing is executed.
 */
#include "postgres.h"

#include <math.h>

#include "advise/budget/budget.h"

/* Returns the limits of the roles that have something to ask for, and the sum of that. */
static List *
role_limits(const Budget *budget, double *sum)
{
	List	   *limits = NIL;
	ListCell   *cell;

	*sum = 0;
	foreach(cell, budget->limits)
	{
		BudgetLimit *limit = lfirst(cell);

		if (!limit->of_role || limit_worst(limit) == 0)
			continue;
		limits = lappend(limits, limit);
		*sum += limit_worst(limit);
	}
	return limits;
}

/* Does each service have a role that a limit holds for? */
static bool
all_have_roles(const Budget *budget)
{
	ListCell   *cell;

	foreach(cell, budget->services)
	{
		const DeclaredService *service = lfirst(cell);

		if (service->role[0] == '\0' || service->is_super)
			return false;
	}
	return true;
}

static const char *
isolation_text(const Budget *budget, double sum, double capacity)
{
	const char *format = sum <= capacity
		? "with these limits each role has its worst case whatever the others do: together %.0f of the %.0f connections of the server"
		: "with these limits each role keeps that many whatever the others do, and has fewer than its worst case: "
		"together those are %.0f, and the server has %.0f";
	const char *text = psprintf(format, sum, capacity);

	return psprintf("%s; roles that are not declared%s have none", text,
					all_have_roles(budget) ? "" : ", superusers and services without a role");
}

/*
 * Returns statements that limit each declared role to its worst case, or, if these do
 * not fit together, to its part of the server; palloc'd.  What they guarantee goes to
 * "isolation", "" if there are none.  A limit that is so already is not in the list.
 */
List *
proposals(const Budget *budget, const char **isolation)
{
	const BudgetLimit *server = linitial(budget->limits);
	double		sum;
	List	   *limits = role_limits(budget, &sum);
	double		scale = sum > server->capacity ? server->capacity / sum : 1;
	List	   *statements = NIL;
	ListCell   *cell;

	*isolation = "";
	foreach(cell, limits)
	{
		const BudgetLimit *limit = lfirst(cell);
		double		n = floor(limit_worst(limit) * scale);

		if (n < 1 || limit->raise == NULL)
			return NIL;			/* more roles than connections, or one that cannot be named */
		if (limit->capacity != n)
			statements = lappend(statements, psprintf("%s %.0f;", limit->raise, n + limit->beside));
	}
	if (limits != NIL)
		*isolation = isolation_text(budget, sum, server->capacity);
	return statements;
}

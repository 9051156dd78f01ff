/*
 * list.c
 *		The list of scenarios.
 */
#include "postgres.h"

#include "scenario/list.h"

#define SCENARIO_ADDRESS(name) &scenario_##name,

const Scenario *const scenarios[] = {
	SCENARIOS(SCENARIO_ADDRESS)
};

const int	nscenarios = lengthof(scenarios);

/* Returns the scenario of that name, or NULL. */
const Scenario *
scenario_find(const char *name)
{
	for (int i = 0; i < nscenarios; i++)
		if (strcmp(scenarios[i]->name, name) == 0)
			return scenarios[i];
	return NULL;
}

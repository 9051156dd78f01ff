/*
 * list.h
 *		The list of scenarios, in the order of the views.
 */
#pragma once

#include "story/scenario.h"

/* The file of each name defines scenario_<name>, and includes this one. */
#define SCENARIOS(SCENARIO) \
	SCENARIO(saturation) \
	SCENARIO(queue) \
	SCENARIO(backpressure) \
	SCENARIO(leak) \
	SCENARIO(degradation) \
	SCENARIO(isolation) \
	SCENARIO(recovery) \
	SCENARIO(latency) \
	SCENARIO(accuracy) \
	SCENARIO(storm) \
	SCENARIO(endtoend) \
	SCENARIO(all)

#define SCENARIO_DECLARE(name) extern const Scenario scenario_##name;
SCENARIOS(SCENARIO_DECLARE)
#undef SCENARIO_DECLARE

extern const Scenario *const scenarios[];
extern const int nscenarios;

extern const Scenario *scenario_find(const char *name);

/*
 * outage.h
 *		Scenario recovery on a foreign server.
 */
#ifndef POOL_EXHAUST_SCENARIO_OUTAGE_H
#define POOL_EXHAUST_SCENARIO_OUTAGE_H

#include "story/story.h"

extern void outage_play(Run *run);

#endif							/* POOL_EXHAUST_SCENARIO_OUTAGE_H */

/*
 * outage.h
 *		Scenario recovery on a foreign server.
 */
#ifndef POOL_EXHAUST_OUTAGE_H
#define POOL_EXHAUST_OUTAGE_H

#include "scenario.h"

extern void outage_play(Run *run);

#endif							/* POOL_EXHAUST_OUTAGE_H */

/*
 * preflight.h
 *		Everything that can be refused before anything is touched.
 */
#ifndef POOL_EXHAUST_PREFLIGHT_H
#define POOL_EXHAUST_PREFLIGHT_H

#include "plan.h"

extern void preflight_init(void);
extern void preflight_server(void);
extern void preflight_plan(RunPlan *plan);

#endif							/* POOL_EXHAUST_PREFLIGHT_H */

/*
 * hold.h
 *		Connections held and leaked by hand, as SQL sees them.
 */
#ifndef POOL_EXHAUST_RUN_HOLD_H
#define POOL_EXHAUST_RUN_HOLD_H

#include "plan.h"

extern bool hold_owner_is_there(const HoldPlan *plan);

#endif							/* POOL_EXHAUST_RUN_HOLD_H */

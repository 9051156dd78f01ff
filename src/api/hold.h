/*
 * hold.h
 *		Connections held and leaked by hand, as SQL sees them.
 */
#ifndef POOL_EXHAUST_API_HOLD_H
#define POOL_EXHAUST_API_HOLD_H

#include "story/story.h"

/* For the runner. */
extern bool hold_owner_is_there(const HoldPlan *plan);
extern void hold_end_begins(RunSlot *slot);
extern void hold_log_end(const Run *run);

#endif							/* POOL_EXHAUST_API_HOLD_H */

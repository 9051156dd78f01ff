/*
 * idle_reason.h
 *		Which sessions are idle on purpose.
 */
#ifndef POOL_EXHAUST_OBSERVE_HOOKS_IDLE_REASON_H
#define POOL_EXHAUST_OBSERVE_HOOKS_IDLE_REASON_H

#include "observe/slots/slot.h"

extern void idle_reason_init(void);
extern bool slot_has_idle_reason(int number, const Slot *slot);

#endif							/* POOL_EXHAUST_OBSERVE_HOOKS_IDLE_REASON_H */

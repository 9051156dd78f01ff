/*
 * purpose.h
 *		Which sessions are idle on purpose.
 */
#ifndef POOL_EXHAUST_PURPOSE_H
#define POOL_EXHAUST_PURPOSE_H

#include "slot.h"

extern void purpose_init(void);
extern bool slot_has_purpose(int number, const Slot *slot);

#endif							/* POOL_EXHAUST_PURPOSE_H */

/*
 * idle_reason.h
 *		Which sessions are idle on purpose.
 */
#pragma once

#include "observe/slots/slot.h"

extern void idle_reason_init(void);
extern bool slot_has_idle_reason(int number, const Slot *slot);

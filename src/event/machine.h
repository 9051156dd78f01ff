/*
 * machine.h
 *		What the machine has for the sessions of one process.
 */
#pragma once

#include "base/scale.h"

extern void machine_read(ScaleRoom *room);
extern void machine_require(const char *what, const ScaleNeed *need);

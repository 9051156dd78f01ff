/*
 * calibration.h
 *		How fast the machine was when a run began.
 */
#pragma once

#include "story/run.h"

extern void calibration_init(void);
extern void calibrate(Run *run);
extern char *calibration_json(const Run *run);

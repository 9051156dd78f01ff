/*
 * results.h
 *		Writes runs, checks and samples.
 */
#pragma once

#include "story/story.h"

extern void results_init(void);
extern int64 results_begin(Run *run);
extern void results_finish(Run *run);
extern void results_sweep(void);

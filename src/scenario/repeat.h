/*
 * repeat.h
 *		A run that is repeated, and compared: options repeat and against.
 */
#pragma once

#include "story/story.h"

extern int64 repeat_runs_max(const Options *options);
extern int64 repeat_time_ms(const RunRequest *request, const Options *options);
extern void repeat_play(Run *run);

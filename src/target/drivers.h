/*
 * drivers.h
 *		The drivers of a run: servers that generate its load.
 */
#pragma once

#include "story/story.h"

extern void drivers_require(const RunRequest *request, const Options *options);
extern Pool *drivers_open(Run *run, RunParty *party);
extern char *drivers_why_lost(Run *run);
extern void drivers_report(Run *run);
extern void drivers_recall(Run *run);

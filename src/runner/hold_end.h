/*
 * hold_end.h
 *		When a hold ends, and what is reported of it then.
 */
#pragma once

#include "story/story.h"

extern bool hold_owner_is_there(const HoldRequest *request);
extern void hold_end_begins(RunEntry *entry);
extern void hold_log_end(const Run *run);

/*
 * target.h
 *		What a run can aim at: the pools of this server by their kind, and
 *		foreign servers by their name.
 */
#pragma once

#include "story/scenario.h"

extern void target_find(const char *name, RunRequest *request);
extern void target_set(TargetKind kind, RunRequest *request);
extern void target_require(const Scenario *scenario, const RunRequest *request);

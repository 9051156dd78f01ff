/*
 * target.h
 *		What a run can aim at: the pools of this server by their kind, and
 *		foreign servers by their name.
 */
#pragma once

#include "shmem/request.h"
#include "story/story.h"
#include "target/target.h"

extern void target_find(const char *name, RunRequest *request);
extern void target_default(const Scenario *scenario, RunRequest *request);
extern void target_require(const Scenario *scenario, const RunRequest *request);

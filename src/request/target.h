/*
 * target.h
 *		What a run can aim at: the pools of this server by their kind, and
 *		foreign servers by their name.
 */
#ifndef POOL_EXHAUST_REQUEST_TARGET_H
#define POOL_EXHAUST_REQUEST_TARGET_H

#include "shmem/request.h"
#include "story/story.h"
#include "target/target.h"

extern void target_find(const char *name, RunRequest *request);
extern void target_default(const Scenario *scenario, RunRequest *request);
extern void target_require(const Scenario *scenario, const RunRequest *request);

#endif							/* POOL_EXHAUST_REQUEST_TARGET_H */

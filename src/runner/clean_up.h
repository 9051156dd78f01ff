/*
 * clean_up.h
 *		The end of every run: let go, prove it, drop the role.
 */
#ifndef POOL_EXHAUST_RUNNER_CLEAN_UP_H
#define POOL_EXHAUST_RUNNER_CLEAN_UP_H

#include "story/story.h"

extern void clean_up(Run *run);

#endif							/* POOL_EXHAUST_RUNNER_CLEAN_UP_H */

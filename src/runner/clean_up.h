/*
 * clean_up.h
 *		The end of every run: what it must leave behind, and the proof.
 */
#ifndef POOL_EXHAUST_RUNNER_CLEAN_UP_H
#define POOL_EXHAUST_RUNNER_CLEAN_UP_H

#include "story/story.h"

extern void clean_up(Run *run);

#endif							/* POOL_EXHAUST_RUNNER_CLEAN_UP_H */

/*
 * canary.h
 *		A session that was there before, and is to notice nothing.
 */
#ifndef POOL_EXHAUST_STORY_CANARY_H
#define POOL_EXHAUST_STORY_CANARY_H

#include "story/story.h"

#define WITNESS_SESSIONS	2

typedef struct Witness Witness;

extern Witness *witness_open(Run *run);
extern void witness_check(Run *run, Witness *witness, double limit_ms);

#endif							/* POOL_EXHAUST_STORY_CANARY_H */

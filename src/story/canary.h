/*
 * canary.h
 *		A session that was open before the load, and must not notice it.
 */
#pragma once

#include "story/story.h"

#define CANARY_SESSIONS	2

typedef struct Canary Canary;

extern Canary *canary_open(Run *run);
extern void canary_check(Run *run, Canary *canary, double limit_ms);

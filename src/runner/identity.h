/*
 * identity.h
 *		The login role of a run: made, used and dropped by the run.
 */
#pragma once

#include "story/story.h"

extern void identity_create(Run *run, int place, int n);
extern char *identity_drop(Run *run);

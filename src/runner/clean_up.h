/*
 * clean_up.h
 *		The end of every run: what it must leave behind, and the proof.
 */
#pragma once

#include "story/story.h"

extern void clean_up(Run *run);

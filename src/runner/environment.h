/*
 * environment.h
 *		What runs must have in common to be compared.
 */
#pragma once

#include "story/run.h"

extern char *environment_json(const Run *run);

/*
 * launch.h
 *		How a runner comes to be.
 */
#pragma once

#include "postmaster/bgworker.h"

extern BackgroundWorkerHandle *runner_launch(int number);

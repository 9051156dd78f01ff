/*
 * launch.h
 *		How a runner comes to be.
 */
#ifndef POOL_EXHAUST_RUNNER_LAUNCH_H
#define POOL_EXHAUST_RUNNER_LAUNCH_H

#include "postmaster/bgworker.h"

extern BackgroundWorkerHandle *runner_launch(int number);

#endif							/* POOL_EXHAUST_RUNNER_LAUNCH_H */

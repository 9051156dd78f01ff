/*
 * launch.h
 *		How a runner comes to be, and the descriptors that it may have.
 */
#ifndef POOL_EXHAUST_RUNNER_LAUNCH_H
#define POOL_EXHAUST_RUNNER_LAUNCH_H

#include "postmaster/bgworker.h"

extern BackgroundWorkerHandle *runner_launch(int number);
extern int	runner_raise_descriptors(int sessions);

#endif							/* POOL_EXHAUST_RUNNER_LAUNCH_H */

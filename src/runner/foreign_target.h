/*
 * foreign_target.h
 *		How a run gets to its foreign server, what it finds there, and the proof
 *		that it has left nothing.
 */
#ifndef POOL_EXHAUST_RUNNER_FOREIGN_TARGET_H
#define POOL_EXHAUST_RUNNER_FOREIGN_TARGET_H

#include "load/target/probe.h"
#include "story/story.h"

extern void aim_open_service(Run *run);
extern void aim_open(Run *run, int n);
extern void aim_fit(Run *run, const Figures *figures);
extern Pool *aim_pool(Run *run, const RunService *service);
extern int	aim_left(Run *run);
extern void aim_close(Run *run);

#endif							/* POOL_EXHAUST_RUNNER_FOREIGN_TARGET_H */

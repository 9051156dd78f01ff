/*
 * foreign_target.h
 *		How a run gets to its foreign server, what it finds there, and the proof
 *		that it has left nothing.
 */
#ifndef POOL_EXHAUST_RUNNER_FOREIGN_TARGET_H
#define POOL_EXHAUST_RUNNER_FOREIGN_TARGET_H

#include "load/target/probe.h"
#include "story/story.h"

extern void foreign_target_open_service(Run *run);
extern void foreign_target_open(Run *run, int n);
extern void foreign_target_fit(Run *run, const Figures *figures);
extern Pool *foreign_target_pool(Run *run, const RunParty *party);
extern int	foreign_target_left(Run *run);
extern void foreign_target_close(Run *run);

#endif							/* POOL_EXHAUST_RUNNER_FOREIGN_TARGET_H */

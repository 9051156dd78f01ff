/*
 * child.h
 *		Runs that a run starts.
 */
#ifndef POOL_EXHAUST_CHILD_H
#define POOL_EXHAUST_CHILD_H

#include "scenario/children.h"

extern const ChildRuns child_runs;

extern int	children_end(Run *run);
extern void children_forget(Run *run);

#endif							/* POOL_EXHAUST_CHILD_H */

/*
 * others.c
 *		Workloads: people, batches, agents, and sessions that are idle on purpose.
 */
#include "workloads.h"

const Workload other_workloads[] = {
	{NULL}
};

const Workload *const workload_sets[] = {pool_workloads, process_workloads, other_workloads, NULL};

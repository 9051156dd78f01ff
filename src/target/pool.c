/*
 * pool.c
 *		Target "pool": an application-style pool of the run's own, over this server.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_pool = {
	.name = "pool",
	TARGET_ON_THIS_SERVER,
	.role_limit = true,
	.monitored_as = POOL_SERVER,
	.in_process = true,
	.limiting = "pool_size or max_overflow",
};

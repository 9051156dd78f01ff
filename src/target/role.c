/*
 * role.c
 *		Target "role": what the CONNECTION LIMIT of a role of the run's own leaves.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_role = {
	.name = "role",
	TARGET_ON_THIS_SERVER,
	.role_limit = true,
	.monitored_as = POOL_ROLE,
	.limiting = "role_limit",
};

/*
 * server.c
 *		Target "server": all slots of this server that are not reserved.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_server = {
	.name = "server",
	.exclusive = true,
	TARGET_ON_THIS_SERVER,
	.monitored_as = POOL_SERVER,
};

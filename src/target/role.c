/*
 * role.c
 *		Target "role": what the CONNECTION LIMIT of a role of the run's own leaves.
 */
#include "postgres.h"

#include "target/server_pool.h"
#include "target/target.h"

static int
role_needed(const Scenario *scenario, const Options *options, const Census *census,
			int others, char **asked)
{
	int			embedded = scenario->embedded != 0 ? (int) (options->pool_size + options->max_overflow) : 0;

	*asked = psprintf("option \"role_limit\" is " INT64_FORMAT, options->role_limit);
	return (int) options->role_limit + others + embedded;
}

const TargetType target_role = {
	.name = "role",
	TARGET_ON_THIS_SERVER,
	.role_limit = true,
	.monitored_as = POOL_ROLE,
	.limiting = "role_limit",
	.needed = role_needed,
	.pool_type = &pool_role,
	.pool = server_pool_open,
};

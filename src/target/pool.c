/*
 * pool.c
 *		Target "pool": an application-style pool of the run's own, over this server.
 */
#include "postgres.h"

#include "story/story.h"
#include "target/target.h"

static int
pool_needed(const Scenario *scenario, const Options *options, const Census *census,
			int others, char **asked)
{
	int			pools = scenario->pools > 0 ? scenario->pools : scenario_parties(scenario);
	int			needed = pools * (int) (options->pool_size + options->max_overflow) + others;

	*asked = psprintf("the run needs %d connections (pool_size " INT64_FORMAT
					  ", max_overflow " INT64_FORMAT ", services %d, other sessions %d)",
					  needed, options->pool_size, options->max_overflow, pools, others);
	return needed;
}

/* How long FAULT_SLOW_GRANT holds a request back: too long by a tenth, and whatever chaos excuses, unless that is given. */
static int64
slow_grant_ms(const Run *run)
{
	const Options *options = &run->options;

	return options->fault_ms > 0 ? options->fault_ms
		: Max(options->latency_limit_ms, options->response_limit_ms) * 11 / 10 + run_chaos_ms(run);
}

/* An application-style pool. */
static Pool *
pool_pool(Run *run, const RunParty *party)
{
	const Options *options = &run->options;
	EmbeddedPoolConfig config = {
		.loop = &run->loop,
		.clock = &run->clock,
		.login = party->login,
		.handshakes = options->handshakes,
		.pool_size = options->pool_size,
		.max_overflow = options->max_overflow,
		.timeout_ms = options->pool_timeout_ms,
		.max_waiting = options->max_waiting,
		.idle_order = (IdleOrder) options->idle_order,
		.max_lifetime_ms = options->max_lifetime_ms,
		.connect_timeout_ms = options->connect_timeout_ms,
		.fault = (Fault) options->fault,
		.slow_grant_ms = (int) slow_grant_ms(run),
	};

	return pool_open_embedded(&config);
}

const TargetType target_pool = {
	.name = "pool",
	TARGET_ON_THIS_SERVER,
	.role_limit = true,
	.monitored_as = POOL_SERVER,
	.in_process = true,
	.limiting = "pool_size or max_overflow",
	.needed = pool_needed,
	.pool = pool_pool,
};

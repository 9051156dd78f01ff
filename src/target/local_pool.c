/*
 * local_pool.c
 *		The pools of this server, without a queue: its slots, or what the limit of a
 *		role leaves of them.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "event/descriptors.h"
#include "scenario/hold.h"
#include "target/local_pool.h"

/*
 * Returns the pool that a party logs in to; it opens no connection yet, and lives in
 * the current memory context.
 */
Pool *
local_pool_open(Run *run, const RunParty *party, const PoolDriver *driver)
{
	const Options *options = &run->options;
	ServerPoolConfig config = {
		.driver = driver,
		.loop = &run->loop,
		.login = party->login,
		.role = party->role,
		.limit = options->role_limit,
		.handshakes = options->handshakes,
		.timeout_ms = Min(LOGIN_TIMEOUT_MS, options->timeout_ms),
		.sessions_max = MaxConnections + options->handshakes,
	};

	if (request_is_hold(&run->request))
		config.sessions_max = hold_sessions(&run->request.hold);

	descriptors_raise(config.sessions_max);
	return pool_open_server(&config);
}

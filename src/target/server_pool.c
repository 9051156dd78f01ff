/*
 * server_pool.c
 *		What has no queue as a pool: the slots of this server, what the limit of a
 *		role leaves of them, and the sessions of a foreign server.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "event/descriptors.h"
#include "load/target/endpoint.h"
#include "load/target/probe.h"
#include "scenario/hold.h"
#include "target/foreign.h"
#include "target/server_pool.h"

/*
 * Returns how many sessions the party may open on its foreign server: what is free,
 * as far as that is known, and those that are to be refused or under way.
 */
int
server_pool_foreign_sessions(const Run *run, const RunParty *party)
{
	const Figures *figures = party->probe != NULL ? &party->probe->figures : NULL;

	return foreign_sessions(&run->request, &run->options,
							figures != NULL ? figures->capacity - figures->in_use : party->endpoint->capacity);
}

/* Returns the longest that one login may take, in milliseconds. */
int
server_pool_login_ms(const Run *run)
{
	return (int) Min(login_ms(run), run->options.timeout_ms);
}

/* How many sessions the party may have, held and under way. */
static int
sessions_max(const Run *run, const RunParty *party)
{
	int			handshakes = (int) run->options.handshakes;

	if (party->endpoint != NULL)
		return server_pool_foreign_sessions(run, party);
	return request_is_hold(&run->request) ? hold_sessions(&run->request.hold) + handshakes : MaxConnections + handshakes;
}

/*
 * TargetType.pool() of those with a type of pool.  Ends the run as invalid if this machine
 * cannot have that many sessions on a foreign server; here the request was checked.
 */
Pool *
server_pool_open(Run *run, const RunParty *party)
{
	ServerPoolConfig config = {
		.type = run->target->pool_type,
		.loop = &run->loop,
		.login = party->login,
		.role = party->role,
		.limit = run->options.role_limit,
		.handshakes = run->options.handshakes,
		.timeout_ms = server_pool_login_ms(run),
		.sessions_max = sessions_max(run, party),
		.probe = party->probe,
		.capacity = party->endpoint != NULL ? party->endpoint->capacity : 0,
	};

	if (party->endpoint != NULL)
		foreign_scale_require(run, party, config.sessions_max);
	(void) descriptors_raise(config.sessions_max);
	return pool_open_server(&config);
}

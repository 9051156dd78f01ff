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
#include "target/server_pool.h"

/*
 * Returns how many sessions the party may open on its foreign server: what is free,
 * as far as that is known, and those that are to be refused or under way.
 */
int
server_pool_foreign_sessions(const Run *run, const RunParty *party)
{
	const Figures *figures = party->probe != NULL ? &party->probe->figures : NULL;
	int			spare = (int) (run->options.handshakes + run->options.attempts);
	int			capacity = figures != NULL ? figures->capacity - figures->in_use : party->endpoint->capacity;

	capacity = Min(Max(capacity, 0) + spare, FOREIGN_CLIENTS_MAX);
	return run->request.held_max > 0 ? Min(capacity, run->request.held_max + spare) : capacity;
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

	if (request_is_hold(&run->request))
		return hold_sessions(&run->request.hold) + handshakes;
	return party->endpoint != NULL ? server_pool_foreign_sessions(run, party) : MaxConnections + handshakes;
}

/*
 * TargetType.pool() of those with a driver.  Ends the run as invalid if it may not
 * have that many sessions on a foreign server; here the request was checked.
 */
Pool *
server_pool_open(Run *run, const RunParty *party)
{
	ServerPoolConfig config = {
		.driver = run->target->driver,
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

	if (descriptors_raise(config.sessions_max) < config.sessions_max && party->endpoint != NULL)
		run_end(run, VERDICT_INVALID, "the run may need %d open files for %s, and the server was started with too low a limit for that (ulimit -Hn, LimitNOFILE=)",
				config.sessions_max + SPARE_DESCRIPTORS, run->request.target_name);
	return pool_open_server(&config);
}

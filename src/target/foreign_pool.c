/*
 * foreign_pool.c
 *		The sessions of a foreign server as a pool: how many there may be.
 */
#include "postgres.h"

#include "event/descriptors.h"
#include "load/target/endpoint.h"
#include "load/target/probe.h"
#include "target/foreign_pool.h"

/*
 * Returns how many sessions the party may open: what is free, as far as that is
 * known, and those that are to be refused or under way.
 */
int
foreign_pool_sessions(const Run *run, const RunParty *party)
{
	const Figures *figures = party->probe != NULL ? &party->probe->figures : NULL;
	int			spare = (int) (run->options.handshakes + run->options.attempts);
	int			capacity = figures != NULL ? figures->capacity - figures->in_use : party->endpoint->capacity;

	capacity = Min(Max(capacity, 0) + spare, FOREIGN_CLIENTS_MAX);
	return run->request.held_max > 0 ? Min(capacity, run->request.held_max + spare) : capacity;
}

/* Returns the longest that one login may take, in milliseconds. */
int
foreign_pool_login_ms(const Run *run)
{
	return (int) Min(LOGIN_TIMEOUT_MS, run->options.timeout_ms);
}

/*
 * Returns the sessions of that server as a pool that opens no connection yet.
 * Ends the run as invalid if it may not have that many.
 */
Pool *
foreign_pool_open(Run *run, const RunParty *party, const PoolDriver *driver)
{
	ServerPoolConfig config = {
		.driver = driver,
		.loop = &run->loop,
		.login = party->login,
		.handshakes = (int) run->options.handshakes,
		.timeout_ms = foreign_pool_login_ms(run),
		.sessions_max = foreign_pool_sessions(run, party),
		.probe = party->probe,
		.capacity = party->endpoint->capacity,
	};

	if (request_is_hold(&run->request))
		config.sessions_max = run->request.hold.connections + (int) run->options.handshakes;
	if (descriptors_raise(config.sessions_max) < config.sessions_max)
		run_end(run, VERDICT_INVALID, "the run may need %d open files for %s, and the server was started with too low a limit for that (ulimit -Hn, LimitNOFILE=)",
				config.sessions_max + SPARE_DESCRIPTORS, run->request.target_name);
	return pool_open_server(&config);
}

/*
 * foreign_pool.c
 *		The pool of a foreign server: what the options leave to it, and how it is
 *		used up.
 */
#include "postgres.h"

#include "load/target/endpoint.h"
#include "request/options.h"
#include "runner/foreign_target.h"
#include "runner/launch.h"

/* Clients of a pooler that a run may have at the most. */
#define CLIENTS_MAX		20000

/* PgBouncer looks for clients that have waited too long three times a second. */
#define JANITOR_MS		334

/* A client that logs in for each operation leaves its connection unused meanwhile. */
#define LEVEL_TOLERANCE	40

/* The options that a foreign server knows better, with what it says. */
static void
foreign_target_fit_options(Run *run, const Figures *figures)
{
	Options    *options = &run->options;
	OptionSet	left = options_left_to_target(&run->request, run->scenario);
	int64		capacity = figures->pool_size + figures->reserve;
	struct
	{
		OptionId	id;
		int64	   *option;
		int64		value;
	}			fits[] = {
		{OPTION_pool_timeout_ms, &options->pool_timeout_ms, figures->wait_timeout_ms},
		{OPTION_long_operations, &options->long_operations, 2 * capacity},
		{OPTION_quick_operations, &options->quick_operations, capacity},
		{OPTION_long_ms, &options->long_ms, figures->wait_timeout_ms * 13 / 10},
		{OPTION_tolerance_ms, &options->tolerance_ms, JANITOR_MS + 300},
		{OPTION_tolerance_percent, &options->tolerance_percent, LEVEL_TOLERANCE},
	};

	for (int i = 0; i < lengthof(fits); i++)
		if (left.has[fits[i].id])
			*fits[i].option = fits[i].value;

	/* Whatever was expected, the story is of the pool that there is. */
	options->pool_size = figures->pool_size;
	options->max_overflow = figures->reserve;
}

/*
 * What the caller expects of the pool is a claim like others: a pool of another
 * size than one thinks is the commonest mistake.
 */
static void
foreign_target_check_options(Run *run, const Figures *figures)
{
	const OptionSet *given = &run->request.asked.given;
	const Options *options = &run->options;

	if (given->has[OPTION_pool_size])
		check_count(run, "pool_size", options->pool_size, figures->pool_size,
					"PgBouncer's pool is of another size: see pool_size in SHOW DATABASES, default_pool_size in SHOW CONFIG");
	if (given->has[OPTION_max_overflow])
		check_count(run, "max_overflow", options->max_overflow, figures->reserve,
					"PgBouncer's reserve is of another size: see reserve_pool_size");
}

/* ERROR, as in the caller's session, if the options contradict what was found. */
static void
foreign_target_require(Run *run)
{
	if (run->scenario->require != NULL)
		run->scenario->require(&run->options);
}

/*
 * Completes the options by what PgBouncer says of its pool.  Ends the run as
 * invalid if nobody would have the patience.
 */
void
foreign_target_fit(Run *run, const Figures *figures)
{
	if (figures->pool_size + figures->reserve > CLIENTS_MAX / 2)
		run_end(run, VERDICT_INVALID, "PgBouncer's pool has %d connections, and this run can use up to %d",
				figures->pool_size + figures->reserve, CLIENTS_MAX / 2);
	foreign_target_check_options(run, figures);
	foreign_target_fit_options(run, figures);
	if (run->options.pool_timeout_ms == 0 || run->options.pool_timeout_ms >= run->options.timeout_ms)
		run_end(run, VERDICT_INVALID, figures->wait_timeout_ms == 0
				? "PgBouncer lets clients wait for ever (query_wait_timeout = 0): say with option pool_timeout_ms what you expect of it"
				: "PgBouncer lets clients wait for %.0f s (query_wait_timeout), longer than this run may take: raise option timeout_ms, or say with option pool_timeout_ms what you expect",
				figures->wait_timeout_ms / 1000.0);
	foreign_target_require(run);
}

static int
foreign_target_sessions(const Run *run, const RunParty *party, int spare)
{
	const Figures *figures = party->probe != NULL ? &party->probe->figures : NULL;
	int			capacity = figures != NULL ? figures->capacity - figures->in_use : party->endpoint->capacity;

	capacity = Min(Max(capacity, 0) + spare, CLIENTS_MAX);
	return run->request.held_max > 0 ? Min(capacity, run->request.held_max + spare) : capacity;
}

/* Opens no connection yet.  Ends the run as invalid if it may not have that many. */
Pool *
foreign_target_pool(Run *run, const RunParty *party)
{
	const Options *options = &run->options;
	int			timeout_ms = (int) Min(LOGIN_TIMEOUT_MS, options->timeout_ms);
	int			spare = (int) (options->handshakes + options->attempts);

	if (run->request.target == TARGET_PGBOUNCER && !run->scenario->logins)
	{
		BouncerPoolConfig config = {
			.loop = &run->loop,
			.login = party->login,
			.probe = party->probe,
			.handshakes = (int) options->handshakes,
			.timeout_ms = timeout_ms,
			/* It is PgBouncer that says who is too many. */
			.clients_max = foreign_target_sessions(run, party, spare),
		};

		config.clients_max = runner_raise_descriptors(config.clients_max);
		return pool_open_pgbouncer(&config);
	}
	else
	{
		ServerPoolConfig config = {
			.driver = run->request.target == TARGET_PGBOUNCER ? &pool_clients : &pool_postgres,
			.loop = &run->loop,
			.login = party->login,
			.handshakes = (int) options->handshakes,
			.timeout_ms = timeout_ms,
			.sessions_max = foreign_target_sessions(run, party, spare),
			.probe = party->probe,
			.capacity = party->endpoint->capacity,
		};

		if (request_is_hold(&run->request))
			config.sessions_max = run->request.hold.connections + (int) options->handshakes;
		if (runner_raise_descriptors(config.sessions_max) < config.sessions_max)
			run_end(run, VERDICT_INVALID, "the run may need %d open files for %s, and the server was started with too low a limit for that (ulimit -Hn, LimitNOFILE=)",
					config.sessions_max + SPARE_DESCRIPTORS, run->request.target_name);
		return pool_open_server(&config);
	}
}

/*
 * pgbouncer.c
 *		Foreign servers of kind "pgbouncer": the pool of a PgBouncer, or its clients.
 *
 * Its console says how large the pool is, and how it is used: the story is of that
 * pool, and what the caller expects of it is checked.
 */
#include "postgres.h"

#include "event/descriptors.h"
#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"

/* PgBouncer checks three times a second for clients that have waited too long. */
#define JANITOR_MS		334

/* A client that logs in for each operation leaves its connection unused meanwhile. */
#define LEVEL_TOLERANCE	40

/* ---------- Its options ---------- */

static const ForeignOption pgbouncer_options[] = {
	LIBPQ_SERVER_OPTIONS,
	{"console", ForeignServerRelationId},
	LIBPQ_MAPPING_OPTIONS,
	{"console_user", UserMappingRelationId},
	{"console_password", UserMappingRelationId},
	{NULL}
};

static void
pgbouncer_read(Endpoint *endpoint, List *server, List *mapping)
{
	Login	   *console = &endpoint->console;
	const char *database = foreign_option_value(server, "console");
	const char *user = foreign_option_value(mapping, "console_user");
	const char *password = foreign_option_value(mapping, "console_password");

	foreign_login_read(console, endpoint, pgbouncer_options, server, mapping);
	login_add(console, "dbname", database != NULL ? database : "pgbouncer");
	if (user != NULL)
	{
		login_add(console, "user", user);
		login_add(console, "password", password != NULL ? password : "");
	}
}

/* ---------- What it says of its pool ---------- */

/* The options that a foreign server knows better, with what it says. */
static void
pgbouncer_fit_options(Run *run, const Figures *figures)
{
	Options    *options = &run->options;
	const OptionSet *left = &run->left_to_target;
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
		if (left->has[fits[i].id])
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
pgbouncer_check_options(Run *run, const Figures *figures)
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

/*
 * Completes the options by what PgBouncer says of its pool.  Ends the run as
 * invalid if the pool is larger than a run may use up, or clients wait there for
 * longer than the run may take.
 */
static void
pgbouncer_fit(Run *run, const Figures *figures)
{
	if (figures->pool_size + figures->reserve > FOREIGN_CLIENTS_MAX / 2)
		run_end(run, VERDICT_INVALID, "PgBouncer's pool has %d connections, and this run can use up to %d: aim at a user or database with a smaller pool_size",
				figures->pool_size + figures->reserve, FOREIGN_CLIENTS_MAX / 2);
	pgbouncer_check_options(run, figures);
	pgbouncer_fit_options(run, figures);
	if (run->options.pool_timeout_ms == 0 || run->options.pool_timeout_ms >= run->options.timeout_ms)
		run_end(run, VERDICT_INVALID, figures->wait_timeout_ms == 0
				? "PgBouncer lets clients wait for ever (query_wait_timeout = 0): say with option pool_timeout_ms what you expect of it"
				: "PgBouncer lets clients wait for %.0f s (query_wait_timeout), longer than this run may take: raise option timeout_ms, or say with option pool_timeout_ms what you expect",
				figures->wait_timeout_ms / 1000.0);
	/* ERROR, as in the caller's session, if the options contradict what was found. */
	if (run->scenario->require != NULL)
		run->scenario->require(&run->options);
}

/* Ends the run as invalid if what the console says is not what PgBouncer says. */
static void
pgbouncer_require_figures(Run *run, const Figures *figures)
{
	if (figures->capacity > 0 && figures->pool_size > 0 && pgbouncer_mode_is_known(figures->mode))
		return;
	run_end(run, VERDICT_INVALID,
			"the console of %s does not say what PgBouncer says: max_client_conn %d, pool_size %d, pool_mode \"%s\"; check kind, host, port and console of the foreign server",
			run->request.target_name, figures->capacity, figures->pool_size, figures->mode);
}

/* TargetType.open() */
static void
pgbouncer_open(Run *run, int n)
{
	RunParty   *party = &run->parties[n];

	if (!foreign_login_open(run, n))
		return;
	if (foreign_login_ask(run, party, pgbouncer_questions, "could not ask the console of", "the console of "))
		pgbouncer_require_figures(run, &party->probe->figures);
	foreign_login_require_alone(run, party);
	if (n == 0 && !run->scenario->logins)
		pgbouncer_fit(run, &party->probe->figures);
}

/* ---------- Its pool ---------- */

/* TargetType.pool(): the connections behind it, or its clients where logins are the story. */
static Pool *
pgbouncer_pool(Run *run, const RunParty *party)
{
	BouncerPoolConfig config = {
		.loop = &run->loop,
		.login = party->login,
		.probe = party->probe,
		.handshakes = (int) run->options.handshakes,
		.timeout_ms = server_pool_login_ms(run),
	};

	if (run->scenario->logins)
		return server_pool_open(run, party);
	/* It is PgBouncer that refuses clients beyond its limit. */
	config.clients_max = descriptors_raise(Min(server_pool_foreign_sessions(run, party), FOREIGN_CLIENTS_MAX));
	return pool_open_pgbouncer(&config);
}

/* TargetType.shared(): where logins are the story its clients share nothing. */
static const char *
pgbouncer_shared(const Run *run, const RunParty *party, int *pool_size)
{
	*pool_size = party->probe->figures.pool_size;
	return run->scenario->logins ? "" : party->probe->figures.mode;
}

const TargetType target_pgbouncer = {
	.name = "pgbouncer",
	.foreign = true,
	.driven = true,
	.exclusive = true,
	.one_party = true,
	.counts_itself = true,
	.may_vanish = true,
	.shows_settings = true,
	.knows_size = true,
	.asked_first = true,
	.options = pgbouncer_options,
	.default_port = "6432",
	.read = pgbouncer_read,
	.shared = pgbouncer_shared,
	.open = pgbouncer_open,
	.pool_type = &pool_clients,
	.pool = pgbouncer_pool,
};

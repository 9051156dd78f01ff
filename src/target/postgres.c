/*
 * postgres.c
 *		Foreign servers of kind "postgres": another PostgreSQL, or what speaks its
 *		protocol.
 */
#include "postgres.h"

#include "target/foreign_login.h"
#include "target/foreign_pool.h"
#include "target/foreign_server.h"
#include "target/target.h"

static void
check_capacity(const char *name, const char *value)
{
	foreign_check_number(name, value, MAX_BACKENDS);
}

static const ForeignOption postgres_options[] = {
	LIBPQ_SERVER_OPTIONS,
	{"capacity", ForeignServerRelationId, .check = check_capacity},
	LIBPQ_MAPPING_OPTIONS,
	{NULL}
};

/* TargetType.read() */
static void
postgres_read(Endpoint *endpoint, List *server, List *mapping)
{
	const char *capacity = foreign_option_value(server, "capacity");

	foreign_login_read_endpoint(endpoint, "5432", postgres_options, server, mapping);
	endpoint->capacity = capacity != NULL ? atoi(capacity) : 0;
}

/* Ends the run as invalid if the user of the mapping has too many rights there, or too few. */
static void
postgres_require_figures(Run *run, const Figures *figures)
{
	if (figures->superuser)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping is a superuser on %s, and would take the slots that are reserved for those",
				run->request.target_name);
	if (figures->blind)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping cannot see who else is connected to %s: grant it pg_read_all_stats there, or say with the server's option capacity how many connections there are to be had",
				run->request.target_name);
}

/* TargetType.open().  One with option capacity cannot be asked. */
static void
postgres_open(Run *run, int n)
{
	RunParty   *party = &run->parties[n];

	if (!foreign_login_open(run, n) || party->endpoint->capacity > 0)
		return;
	foreign_login_make_console(party->endpoint);
	if (foreign_login_ask(run, party, postgres_questions, "could not ask", ""))
		postgres_require_figures(run, &party->probe->figures);
	foreign_login_require_alone(run, party);
}

/* TargetType.pool() */
static Pool *
postgres_pool(Run *run, const RunParty *party)
{
	return foreign_pool_open(run, party, &pool_postgres);
}

const TargetType target_postgres = {
	.name = "postgres",
	.foreign = true,
	.exclusive = true,
	.one_party = true,
	.may_vanish = true,
	.asked_first = true,
	.options = postgres_options,
	.read = postgres_read,
	.require = foreign_require,
	.open = postgres_open,
	.pool = postgres_pool,
};

/*
 * postgres.c
 *		Foreign servers of kind "postgres": another PostgreSQL, or what speaks its
 *		protocol.
 */
#include "postgres.h"

#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"

static const ForeignOption postgres_options[] = {
	LIBPQ_SERVER_OPTIONS,
	{"capacity", ForeignServerRelationId, .max = MAX_BACKENDS},
	LIBPQ_MAPPING_OPTIONS,
	{NULL}
};

/* Ends the run as invalid if the user of the mapping has too many rights there, or too few. */
static void
postgres_require_figures(Run *run, const Figures *figures)
{
	if (figures->superuser)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping is a superuser on %s, and would take the slots that are reserved for those: name a role without SUPERUSER in the mapping",
				run->request.target_name);
	if (figures->blind)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping cannot see the other sessions on %s: grant it pg_read_all_stats there, or say with the server's option capacity how many connections there are to be had",
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

const TargetType target_postgres = {
	.name = "postgres",
	.foreign = true,
	.driven = true,
	.exclusive = true,
	.one_party = true,
	.may_vanish = true,
	.asked_first = true,
	.options = postgres_options,
	.recall = postgres_recall,
	.default_port = "5432",
	.open = postgres_open,
	.pool_type = &pool_postgres,
	.pool = server_pool_open,
};

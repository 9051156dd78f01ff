/*
 * pgbouncer.c
 *		Foreign servers of kind "pgbouncer": the pool of a PgBouncer, or its clients.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_pgbouncer = {
	.name = "pgbouncer",
	.foreign = true,
	.exclusive = true,
	.one_party = true,
	.counts_itself = true,
	.may_vanish = true,
	.knows_size = true,
	.asked_first = true,
};

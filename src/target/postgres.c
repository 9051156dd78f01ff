/*
 * postgres.c
 *		Foreign servers of kind "postgres": another PostgreSQL, or what speaks its
 *		protocol.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_postgres = {
	.name = "postgres",
	.foreign = true,
	.exclusive = true,
	.one_party = true,
	.may_vanish = true,
	.asked_first = true,
};

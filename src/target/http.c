/*
 * http.c
 *		Foreign servers of kind "http": a service over HTTP with a pool behind it.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_http = {
	.name = "http",
	.foreign = true,
	.exclusive = true,
	.may_vanish = true,
};

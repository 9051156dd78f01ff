/*
 * each.c
 *		Target "each": of several scenarios, each one's own default target.
 */
#include "postgres.h"

#include "target/target.h"

const TargetType target_each = {
	.name = "each",
	.each_default = true,
};

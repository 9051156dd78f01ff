/*
 * target.c
 *		The list of kinds of targets.
 */
#include "postgres.h"

#include "target/target.h"

#define TARGET_ADDRESS(MEMBER, row) [TARGET_##MEMBER] = &target_##row,

const TargetType *const target_types[TARGET_KINDS] = {
	TARGET_LIST(TARGET_ADDRESS)
};

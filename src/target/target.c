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

/* Returns the kind of that name, of foreign servers or of others; -1 if there is none. */
int
target_find_kind(const char *name, bool foreign)
{
	for (int kind = 0; kind < TARGET_KINDS; kind++)
		if (target_types[kind]->foreign == foreign && strcmp(target_types[kind]->name, name) == 0)
			return kind;
	return -1;
}

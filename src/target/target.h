/*
 * target.h
 *		The rows of the kinds of targets.
 */
#pragma once

#include "shmem/target_kind.h"
#include "story/target_type.h"

#define TARGET_DECLARE(MEMBER, row) extern const TargetType target_##row;
TARGET_LIST(TARGET_DECLARE)
#undef TARGET_DECLARE

/* All of them, by TargetKind. */
extern const TargetType *const target_types[TARGET_KINDS];

extern int	target_find_kind(const char *name, bool foreign);

/* What those on this server have in common. */
#define TARGET_ON_THIS_SERVER \
	.own_roles = true, \
	.ledger = true, \
	.activity = true, \
	.terminates = true, \
	.superuser = true, \
	.monitored = true, \
	.one_backend = true

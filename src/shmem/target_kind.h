/*
 * target_kind.h
 *		The list of kinds of targets.
 *
 * TARGET(MEMBER, row): its number in shared memory is TARGET_<MEMBER>, scenarios
 * that can aim at it list ON_<MEMBER>, and all that it is stands in its row,
 * target_<row>, in target/<row>.c.  Hints name them in this order.
 */
#pragma once

#include "base/words.h"

#define TARGET_LIST(TARGET) \
	TARGET(SERVER, server) \
	TARGET(ROLE, role) \
	TARGET(POOL, pool) \
	TARGET(EACH, each) \
	TARGET(POSTGRES, postgres) \
	TARGET(PGBOUNCER, pgbouncer) \
	TARGET(HTTP, http) \
	TARGET(DRIVER, driver)

#define TARGET_MEMBER(MEMBER, row)	TARGET_##MEMBER,

typedef enum TargetKind
{
	TARGET_LIST(TARGET_MEMBER)
} TargetKind;

#undef TARGET_MEMBER

#define TARGET_KINDS	LIST_COUNT(TARGET_LIST)

/* A set of them: ON_SERVER | ON_ROLE. */
#define TARGET_SET_MEMBER(MEMBER, row)	ON_##MEMBER = 1 << TARGET_##MEMBER,

typedef enum TargetSet
{
	TARGET_LIST(TARGET_SET_MEMBER)
	ON_ALL = (1 << TARGET_DRIVER) - 1	/* a driver is no target */
} TargetSet;

#undef TARGET_SET_MEMBER

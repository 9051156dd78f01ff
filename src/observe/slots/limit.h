/*
 * limit.h
 *		CONNECTION LIMITs of roles and databases.
 */
#pragma once

#include "nodes/pg_list.h"

#include "shmem/shared.h"

/* One pool that this server is, and how many connections it can hand out. */
typedef struct PoolLimit
{
	PoolKind	kind;
	Oid			oid;			/* of the role or database; InvalidOid: the server */
	char		name[NAMEDATALEN];
	int			capacity;
} PoolLimit;

extern List *limits_of_server(void);
extern List *limits_read(void);
extern int	limit_in_use(const PoolLimit *limit);
extern int	limit_headroom(Oid role, Oid database);
extern int	limit_headroom_new(Oid database, Cause *cause);

/*
 * limit.h
 *		CONNECTION LIMITs of roles and databases.
 */
#pragma once

#include "nodes/pg_list.h"

#include "shmem/shared.h"

extern List *limits_of_server(void);
extern List *limits_read(void);
extern int	limit_in_use(const PoolLimit *limit);
extern int	limit_headroom(Oid role, Oid database);
extern int	limit_headroom_beside(Oid role, Oid database, int taken);
extern int	limit_headroom_new(Oid database, Cause *cause);

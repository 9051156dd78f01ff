/*
 * foreign_pool.h
 *		The sessions of a foreign server as a pool.
 */
#pragma once

#include "story/story.h"

/* Clients of a foreign server that a run may have at the most. */
#define FOREIGN_CLIENTS_MAX	20000

extern int	foreign_pool_sessions(const Run *run, const RunParty *party);
extern int	foreign_pool_login_ms(const Run *run);
extern Pool *foreign_pool_open(Run *run, const RunParty *party, const PoolDriver *driver);

/*
 * server_pool.h
 *		What has no queue as a pool.
 */
#pragma once

#include "story/story.h"

/* Clients of a pool behind a foreign server that a run may have at the most. */
#define FOREIGN_CLIENTS_MAX	20000

extern int	server_pool_foreign_sessions(const Run *run, const RunParty *party);
extern int	server_pool_login_ms(const Run *run);
extern Pool *server_pool_open(Run *run, const RunParty *party);

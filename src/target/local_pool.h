/*
 * local_pool.h
 *		The pools of this server, without a queue.
 */
#pragma once

#include "story/story.h"

extern Pool *local_pool_open(Run *run, const RunParty *party, const PoolDriver *driver);

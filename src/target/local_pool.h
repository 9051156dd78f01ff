/*
 * local_pool.h
 *		The pools of this server, without a queue.
 */
#ifndef POOL_EXHAUST_TARGET_LOCAL_POOL_H
#define POOL_EXHAUST_TARGET_LOCAL_POOL_H

#include "story/story.h"

extern Pool *local_pool_open(Run *run, const RunParty *party, const PoolDriver *driver);

#endif							/* POOL_EXHAUST_TARGET_LOCAL_POOL_H */

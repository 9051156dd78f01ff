/*
 * cleanup.h
 *		The end of every run: let go, prove it, drop the role.
 */
#ifndef POOL_EXHAUST_CLEANUP_H
#define POOL_EXHAUST_CLEANUP_H

#include "scenario/scenario.h"

extern void clean_up(Run *run);

#endif							/* POOL_EXHAUST_CLEANUP_H */

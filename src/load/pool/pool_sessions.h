/*
 * pool_sessions.h
 *		What the drivers of pools have in common.
 */
#pragma once

#include "load/pool/pool.h"

/* Before a connect that the kernel's queue had no room for is tried again. */
#define BACKLOG_RETRY_MS	5

extern void *pool_make_sessions(int n, Size size, const SessionEvents *events, void *owner, dlist_head *unused);
extern void pool_cancel_requests(Pool *pool, dlist_head *requests);
extern void pool_lose(Request *request, const ConnectResult *failure);

/*
 * preflight.h
 *		Everything that can be refused before anything is touched.
 */
#pragma once

#include "shmem/request.h"

extern void preflight_init(void);
/* After "could not hold": how many connections, and beside them. */
#define HOLD_ROOM_HINT "Ask for fewer, or make room: see pool_exhaust_slots and pool_exhaust_pools."
extern char *hold_sessions_text(const HoldRequest *request);

extern void preflight_server(const char *what_cannot, const char *why);
extern void preflight_run(RunRequest *request);
extern int64 preflight_drive(int connections);
extern void preflight_hold(RunRequest *request);

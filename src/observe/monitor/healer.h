/*
 * healer.h
 *		The healer: ends sessions that are suspected of a leak.
 */
#pragma once

#include "observe/monitor/snapshot.h"

extern void heal_init(void);

/* The monitor's part, in a transaction. */
extern void heal_suspects(const MonitorSnapshot *snapshot);

/*
 * Ends the session in slot "number" by the strategy, and logs that, if it still is
 * in the state that it is suspected for and no healer has ended it lately.
 * Returns whether it did.  Takes the lock.
 */
extern bool heal_act(int number, const char *service, int strategy, uint64 now_us);

extern void heal_log_write(void);
extern void heal_log_skip(void);

/* For runs, which want to know what became of their own sessions. */
extern char *heal_log_text(const Oid *roles, int nroles, uint64 since, int *n);
extern uint64 heal_log_now(void);
extern bool heal_log_read(uint64 *seen, HealLogEntry *record);

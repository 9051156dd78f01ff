/*
 * healer.h
 *		The healer: ends sessions that are suspected of a leak.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_HEALER_H
#define POOL_EXHAUST_OBSERVE_MONITOR_HEALER_H

#include "observe/monitor/snapshot.h"

extern void heal_init(void);

/* The monitor's part, in a transaction. */
extern void heal_look(const Sight *sight);
extern void heals_tell(void);
extern void heals_skip(void);

/* For those who want to know what became of their own sessions. */
extern char *heals_text(const Oid *roles, int nroles, uint64 since, int *n);
extern uint64 heals_now(void);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_HEALER_H */

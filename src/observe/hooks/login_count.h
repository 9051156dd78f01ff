/*
 * login_count.h
 *		Counts the sessions that are let in.
 */
#ifndef POOL_EXHAUST_OBSERVE_HOOKS_LOGIN_COUNT_H
#define POOL_EXHAUST_OBSERVE_HOOKS_LOGIN_COUNT_H

extern void grant_init(void);

/* Sessions let in since the server started, and since the last reset. */
extern uint64 grant_total(void);
extern uint64 grant_count(void);

extern void grant_reset(void);

#endif							/* POOL_EXHAUST_OBSERVE_HOOKS_LOGIN_COUNT_H */

/*
 * login_count.h
 *		Counts the logins that are granted.
 */
#pragma once

extern void login_count_init(void);

/* Logins granted since the server started, and since the last reset. */
extern uint64 login_count_total(void);
extern uint64 login_count_add(void);

extern void login_count_reset(void);

/*
 * hooks.h
 *		What runs inside every process of the server, to count and to publish.
 *
 * To be called from _PG_init while shared_preload_libraries is processed.  From then
 * on the hooks only touch atomics: they take no lock, allocate nothing and throw
 * nothing.  observe/slots reads what they write.
 */
#pragma once

#include "shmem/shared.h"

/* The run whose role has that name, which may be NULL or any; NULL: it is of none. */
extern RunEntry *run_of_role(const char *usename);

extern void refusal_init(void);
extern void login_count_init(void);
extern void idle_reason_init(void);
extern void borrower_init(void);

/* In every session, also where the library was not preloaded: the setting can be set there, too. */
extern void borrower_gucs_init(void);

/*
 * refusal.h
 *		The refusal ledger: who was refused, and why.
 */
#ifndef POOL_EXHAUST_REFUSAL_H
#define POOL_EXHAUST_REFUSAL_H

#include "cause.h"

extern void refusal_init(void);

/* Refusals because the server's own slots ran out, all such causes together. */
extern uint64 refusal_count_slots(void);

#endif							/* POOL_EXHAUST_REFUSAL_H */

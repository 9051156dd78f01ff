/*
 * refusal.h
 *		The refusal ledger: refusals of connections, by cause.
 */
#pragma once

#include "base/cause.h"

extern void refusal_init(void);

/* Refusals of one cause since the last reset. */
extern uint64 refusal_count(Cause cause);

/*
 * Refusals because the server's own slots ran out, all such causes together,
 * since the server started: it never goes back.
 */
extern uint64 refusal_count_slots(void);
extern Cause refusal_last_slots(void);

extern void refusal_reset(void);

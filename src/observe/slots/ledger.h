/*
 * ledger.h
 *		What the hooks have counted: refusals by cause, and logins.
 *
 * For any process, at any time: takes no lock and allocates nothing.
 */
#pragma once

#include "base/cause.h"

/* Since the last reset. */
extern uint64 ledger_refusals(Cause cause);
extern uint64 ledger_slot_refusals(void);
extern uint64 ledger_logins(void);

/* Since the server started: these never go back. */
extern uint64 ledger_refusals_ever(void);
extern uint64 ledger_slot_refusals_ever(void);
extern uint64 ledger_logins_ever(void);

/* The cause of the last refusal for lack of slots, CAUSE_NONE if there was none. */
extern Cause ledger_last_slot_cause(void);

/* Begins anew, with the names too. */
extern void ledger_reset(void);

/*
 * ledger.h
 *		What the hooks have counted: refusals by cause, and logins.
 *
 * For any process, at any time: takes no lock and allocates nothing.
 */
#pragma once

#include "miscadmin.h"

#include "shmem/shared.h"

/* Since the last reset. */
extern uint64 ledger_refusals(Cause cause);
extern uint64 ledger_slot_refusals(void);
extern uint64 ledger_logins(void);

/* Of these, those of the own roles of runs and holds. */
extern uint64 ledger_run_refusals(Cause cause);
extern uint64 ledger_run_logins(void);

/* Since the server started: these never go back. */
extern uint64 ledger_cause_refusals_ever(Cause cause);
extern uint64 ledger_refusals_ever(void);
extern uint64 ledger_slot_refusals_ever(void);
extern uint64 ledger_logins_ever(void);

/* The cause of the last refusal for lack of slots, CAUSE_NONE if there was none. */
extern Cause ledger_last_slot_cause(void);

/*
 * The ledger counts what reaches the server log, and is blind to processes whose level
 * there is above FATAL.  The monitor, which has the settings of new processes, takes
 * note of that.
 */
typedef struct RefusedProcessKind
{
	const char *name;
	BackendType type;
} RefusedProcessKind;

extern const RefusedProcessKind refused_processes[];
extern void ledger_note_blindness(void);

/* Since when: a TimestampTz, 0 = it sees. */
extern uint64 ledger_blind_since(RefusedProcess process);

/* The same of what may be refused for that cause. */
extern uint64 ledger_cause_blind_since(Cause cause);

/* Was it blind at any time since then? */
extern bool ledger_was_blind(RefusedProcess process, TimestampTz then);

/* Begins anew, with the names too. */
extern void ledger_reset(void);

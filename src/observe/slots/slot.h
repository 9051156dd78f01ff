/*
 * slot.h
 *		What one slot holds at this moment.
 */
#pragma once

#include "datatype/timestamp.h"

#include "base/slot_state.h"

typedef struct Slot
{
	int			pid;
	Oid			role;			/* these two are invalid early in a login */
	Oid			database;
	SlotState	state;
	TimestampTz started;		/* with pid: which session this is; 0 while
								 * authenticating */
	TimestampTz state_since;
	bool		aborted;		/* idle in a transaction that has failed */
	bool		waits_on_lock;	/* for a heavyweight lock */
	bool		local;			/* its client came through a unix socket */
	uint32		client;			/* hash of the address of its client's host */
	int			changes;		/* change count of its status entry; only with "started" */
	char		application_name[NAMEDATALEN];
} Slot;

/* Is that PGPROC one of those? */
#define PROC_OF_LIST(proc, list) \
	((void *) (proc)->procgloballist == (void *) &ProcGlobal->list)

/* Slots are numbered from 0 to MaxConnections - 1; false if this one is free. */
extern bool slot_read(int number, Slot *slot);

/*
 * The same, where "before" is what was read of this slot earlier.  A session that has not
 * changed since is not read but for whether it waits: it costs a third, where there are thousands.
 */
extern bool slot_read_again(int number, const Slot *before, Slot *slot);

/*
 * To be called some slots before one is read, in a row: where there are thousands they are in
 * no cache, and so the waits for them overlap.  Any number will do.
 */
extern void slot_prefetch(int number);

/* The same again, fewer slots before, when what the first call asked for has come: it leads to the rest. */
extern void slot_prefetch_status(int number);

/* The next walsender from "number" on, which is moved behind it; false if there is none. */
extern bool walsender_read(int *number, Slot *slot);

/* Is that the application_name of postgres_fdw, or one that goes on from there, as "postgres_fdw 4711"? */
extern bool name_is_of_fdw(const char *application_name);
extern bool slot_has_idle_reason(int number, const Slot *slot);
extern bool slot_exports_snapshot(int number);

/* Returns whether the session in the slot has said LISTEN. */
extern bool slot_listens(int number, const Slot *slot);

/*
 * The monitor notes of each slot that it reads whether a login is under way there; since
 * when is known from its first observation of it.  Returns that, monotonic, or 0.
 */
extern void slot_note_login(int number, const Slot *slot, uint64 now_us);
extern uint64 slot_login_since_us(int number, const Slot *slot);

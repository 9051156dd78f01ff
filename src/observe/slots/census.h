/*
 * census.h
 *		Counts slots and sessions from the server's own shared memory.
 */
#pragma once

typedef struct Census
{
	int			capacity;		/* slots for roles without a reserve */
	int			in_use;			/* slots taken, logins under way included */
	int			free;			/* slots not taken, reserved ones included */
	int			authenticating; /* taken by logins that are not through yet */
	int			waiting_on_lock;	/* in use, by sessions that wait for a heavyweight lock */
	int			walsenders;		/* these have slots of their own */
	int			workers;		/* background and autovacuum workers: likewise */
} Census;

extern void census_take(Census *census);

/* The walsenders alone: the slots are not read for that. */
extern int	census_walsenders(void);

/* Slots that are left for roles without a reserve. */
extern int	census_capacity(void);

/* Slots taken, and how many of them by authenticated sessions of the role. */
extern int	census_slots(Oid role, int *ours);

/* Client sessions of a role; up to "max" of their pids go to "pids". */
extern int	census_role_sessions(Oid role, int *pids, int max);

/* Has the role a client session of that pid? */
extern bool census_has_session(Oid role, int pid);

/* Those of them that wait for this event, compared in the bits of the mask. */
extern int	census_role_waiting(Oid role, uint32 wait_event, uint32 mask);

extern bool role_is_one_of(Oid role, const Oid *roles, int nroles);

/* Returns how many client sessions other roles have; "bystander" is one of those roles. */
extern int	census_other_sessions(const Oid *roles, int nroles, Oid *bystander);

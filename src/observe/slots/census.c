/*
 * census.c
 *		Counts slots and sessions from the server's own shared memory.
 *
 * A slot is a PGPROC of the regular list, the first MaxConnections of all
 * (InitProcGlobal), and it is taken while a process owns its latch: from
 * InitProcess, which is before authentication, to the end of ProcKill.
 * pg_stat_activity starts later (before 18, only after the login),
 * and pg_stat_database.numbackends counts workers too, so neither can show how
 * many slots are left.
 *
 * The scan takes no lock: every field it reads is one word, and a census of a
 * moving server is out of date when it arrives, whatever is done.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "observe/slots/census.h"
#include "observe/slots/slot.h"

#define PROC_IN_USE(proc)	((proc)->procLatch.owner_pid != 0)

/* The PGPROCs of the slots that are taken, one after the other. */
#define foreach_slot_taken(proc) \
	for (volatile PGPROC *proc = ProcGlobal->allProcs; proc < ProcGlobal->allProcs + MaxConnections; proc++) \
		if (PROC_IN_USE(proc))

int
census_capacity(void)
{
	return Max(MaxConnections - SuperuserReservedConnections - ReservedConnections, 0);
}

int
census_walsenders(void)
{
	int			walsenders = 0;

	for (uint32 i = MaxConnections; i < ProcGlobal->allProcCount; i++)
	{
		volatile PGPROC *proc = &ProcGlobal->allProcs[i];

		walsenders += PROC_IN_USE(proc) && PROC_OF_LIST(proc, walsenderFreeProcs);
	}
	return walsenders;
}

/* Fills in "census".  Takes no lock and allocates nothing. */
void
census_take(Census *census)
{
	*census = (Census) {.capacity = census_capacity(), .walsenders = census_walsenders()};
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		volatile PGPROC *proc = &ProcGlobal->allProcs[i];

		if (!PROC_IN_USE(proc))
			continue;
		if (i < MaxConnections)
		{
			census->in_use++;
			if (proc->roleId == InvalidOid)
				census->authenticating++;
			census->waiting_on_lock += proc->waitLock != NULL;
		}
		else if (PROC_OF_LIST(proc, bgworkerFreeProcs) ||
				 PROC_OF_LIST(proc, autovacFreeProcs))
			census->workers++;
	}
	census->free = MaxConnections - census->in_use;
}

int
census_slots(Oid role, int *ours)
{
	int			in_use = 0;

	*ours = 0;
	foreach_slot_taken(proc)
	{
		in_use++;
		*ours += proc->roleId == role;
	}
	return in_use;
}

/*
 * Returns how many slots hold an authenticated session of the role, and the
 * first "max" of their pids.  A session counts until its slot is free again,
 * which is later than the end that its client sees.
 */
int
census_role_sessions(Oid role, int *pids, int max)
{
	int			found = 0;

	foreach_slot_taken(proc)
	{
		int			pid = proc->procLatch.owner_pid;

		if (pid == 0 || proc->roleId != role)
			continue;
		if (found < max)
			pids[found] = pid;
		found++;
	}
	return found;
}

/* Returns whether the role has a session of that pid, its slot still taken. */
bool
census_has_session(Oid role, int pid)
{
	foreach_slot_taken(proc)
	{
		if (proc->procLatch.owner_pid == pid && proc->roleId == role)
			return true;
	}
	return false;
}

/*
 * Returns how many of the role's sessions wait for this event, compared in the
 * bits of the mask.  Unlike pg_stat_activity it needs no track_activities.
 */
int
census_role_waiting(Oid role, uint32 wait_event, uint32 mask)
{
	int			found = 0;

	foreach_slot_taken(proc)
		found += proc->roleId == role && (proc->wait_event_info & mask) == wait_event;
	return found;
}

/* Returns whether the role is one of these. */
bool
role_is_one_of(Oid role, const Oid *roles, int nroles)
{
	for (int i = 0; i < nroles; i++)
		if (roles[i] == role)
			return true;
	return false;
}

/*
 * Returns how many slots hold an authenticated session of another role than
 * these; one of those roles goes to "bystander", InvalidOid if there is none.
 */
int
census_other_sessions(const Oid *roles, int nroles, Oid *bystander)
{
	int			found = 0;

	*bystander = InvalidOid;
	foreach_slot_taken(proc)
	{
		Oid			role = proc->roleId;

		if (!OidIsValid(role) || role_is_one_of(role, roles, nroles))
			continue;
		*bystander = role;
		found++;
	}
	return found;
}

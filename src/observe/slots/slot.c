/*
 * slot.c
 *		What one slot holds at this moment, read without a lock.
 *
 * The PGPROC says whether the slot is taken and by a session of which role; the backend
 * status entry of the same process says what that session does.  Reading the
 * entry in place, under its change count (backend_status.h), copies a name and
 * a few words; pgstat_read_current_status() copies every session's query too.
 */
#include "postgres.h"

#include <netinet/in.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "storage/proc.h"
#include "utils/backend_status.h"

#include "base/compat.h"
#include "observe/slots/slot.h"
#include "shmem/shared.h"

/* A backend that dies while it writes leaves an entry that is never complete. */
#define READS_MAX	100

const char *const slot_state_names[SLOT_STATES] = {SLOT_STATE_LIST(LIST_WORD)};

static SlotState
slot_state(BackendState state)
{
	switch (state)
	{
		case STATE_IDLE:
			return SLOT_IDLE;
		case STATE_IDLEINTRANSACTION:
		case STATE_IDLEINTRANSACTION_ABORTED:
			return SLOT_IDLE_IN_TRANSACTION;
		case STATE_DISABLED:
			return SLOT_UNKNOWN;
		case STATE_RUNNING:
		case STATE_FASTPATH:
		case STATE_UNDEFINED:	/* the login was granted a moment ago */
			return SLOT_ACTIVE;
		default:
			return SLOT_AUTHENTICATING; /* 18: STATE_STARTING */
	}
}

/* A hash of the client's address, without the port; unix sockets have none. */
static uint32
client_hash(const SockAddr *addr)
{
	switch (addr->addr.ss_family)
	{
		case AF_INET:
			return hash_bytes((const unsigned char *) &((const struct sockaddr_in *) &addr->addr)->sin_addr,
							  sizeof(struct in_addr));
		case AF_INET6:
			return hash_bytes((const unsigned char *) &((const struct sockaddr_in6 *) &addr->addr)->sin6_addr,
							  sizeof(struct in6_addr));
		default:
			return 0;
	}
}

/* Completes the slot from its status entry; false if that is not its own. */
static bool
slot_read_status(Slot *slot, volatile PgBackendStatus *status)
{
	for (int i = 0; i < READS_MAX; i++)
	{
		int			before;
		int			after;
		int			pid;

		pgstat_begin_read_activity(status, before);
		pid = status->st_procpid;
		slot->state = slot_state(status->st_state);
		slot->started = status->st_proc_start_timestamp;
		slot->state_since = status->st_state_start_timestamp;
		slot->aborted = status->st_state == STATE_IDLEINTRANSACTION_ABORTED;
		slot->changes = before;
		if (pid == slot->pid)
		{
			const SockAddr *client = (const SockAddr *) &status->st_clientaddr;

			slot->client = client_hash(client);
			slot->local = client->addr.ss_family == AF_UNIX;
			strlcpy(slot->application_name, status->st_appname, NAMEDATALEN);
		}
		pgstat_end_read_activity(status, after);
		if (pgstat_read_activity_complete(before, after))
			return pid == slot->pid && slot->state != SLOT_AUTHENTICATING;
	}
	return false;
}

/* Takes no lock and allocates nothing. */
bool
slot_read(int number, Slot *slot)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[number];
	PgBackendStatus *status;

	slot->pid = ((volatile PGPROC *) proc)->procLatch.owner_pid;
	if (slot->pid == 0)
		return false;
	slot->role = ((volatile PGPROC *) proc)->roleId;
	slot->database = ((volatile PGPROC *) proc)->databaseId;
	slot->waits_on_lock = ((volatile PGPROC *) proc)->waitLock != NULL;
	slot->application_name[0] = '\0';
	status = compat_backend_status(proc);
	if (status == NULL || !slot_read_status(slot, status))
	{
		slot->state = SLOT_AUTHENTICATING;
		slot->started = 0;
	}
	return true;
}

/* Role and database are set before the entry is that of a session, and stay. */
static bool
slot_is_unchanged(int number, const Slot *before)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[number];
	volatile PgBackendStatus *status;

	if (before->started == 0 || ((volatile PGPROC *) proc)->procLatch.owner_pid != before->pid)
		return false;
	status = compat_backend_status(proc);
	return status != NULL && status->st_changecount == before->changes && status->st_procpid == before->pid;
}

void
slot_prefetch(int number)
{
	if (number >= MaxConnections)
		return;
	__builtin_prefetch(&ProcGlobal->allProcs[number].procLatch.owner_pid);
	__builtin_prefetch(&ProcGlobal->allProcs[number].waitLock);
}

void
slot_prefetch_status(int number)
{
	PgBackendStatus *status;

	if (number >= MaxConnections || ProcGlobal->allProcs[number].procLatch.owner_pid == 0)
		return;
	status = compat_backend_status(&ProcGlobal->allProcs[number]);
	if (status != NULL)
		__builtin_prefetch(status);
}

bool
slot_read_again(int number, const Slot *before, Slot *slot)
{
	if (before->pid == 0 || !slot_is_unchanged(number, before))
		return slot_read(number, slot);
	*slot = *before;
	slot->waits_on_lock = ((volatile PGPROC *) &ProcGlobal->allProcs[number])->waitLock != NULL;
	return true;
}

bool
walsender_read(int *number, Slot *slot)
{
	while (*number < ProcGlobal->allProcCount)
	{
		int			i = (*number)++;

		if (PROC_OF_LIST(&ProcGlobal->allProcs[i], walsenderFreeProcs) && slot_read(i, slot))
			return true;
	}
	return false;
}

/*
 * A session outside of a transaction holds no lock but those that last as long as
 * it does.  Whether it has any is seen without the lock manager's own locks: the
 * heads of its lists are read, not the lists.
 */
static bool
slot_holds_lock(int number)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[number];

	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
		if (!compat_no_locks(proc, i))
			return true;
	return false;
}

bool
slot_listens(int number, const Slot *slot)
{
	return pg_atomic_read_u32(&session_slots[number].listener) == (uint32) slot->pid;
}

/* Writes the moment first, so that it is that of the process that is named. */
void
slot_note_login(int number, const Slot *slot, uint64 now_us)
{
	SessionSlot *noted = &session_slots[number];
	uint32		pid = slot->pid != 0 && slot->state == SLOT_AUTHENTICATING ? (uint32) slot->pid : 0;

	if (pg_atomic_read_u32(&noted->login) == pid)
		return;
	pg_atomic_write_u32(&noted->login, 0);
	pg_write_barrier();
	pg_atomic_write_u64(&noted->login_us, now_us);
	pg_write_barrier();
	pg_atomic_write_u32(&noted->login, pid);
}

uint64
slot_login_since_us(int number, const Slot *slot)
{
	SessionSlot *noted = &session_slots[number];

	if (pg_atomic_read_u32(&noted->login) != (uint32) slot->pid)
		return 0;
	pg_read_barrier();
	return pg_atomic_read_u64(&noted->login_us);
}

bool
name_is_of_fdw(const char *application_name)
{
	size_t		len = strlen("postgres_fdw");

	return strncmp(application_name, "postgres_fdw", len) == 0 && (application_name[len] == '\0' || application_name[len] == ' ');
}

/*
 * Returns whether the session in this slot, if it is idle, is so on purpose: it waits
 * for notifications, or holds an advisory lock, as elected leaders do, or is a
 * connection that postgres_fdw keeps for as long as its own session lives.
 */
bool
slot_has_idle_reason(int number, const Slot *slot)
{
	return slot_listens(number, slot) ||
		(slot->state == SLOT_IDLE && (slot_holds_lock(number) || name_is_of_fdw(slot->application_name)));
}

/*
 * Returns whether its transaction has exported a snapshot: it stays open for those that
 * work with it, as the leader of pg_dump -j does.
 */
bool
slot_exports_snapshot(int number)
{
	char		path[MAXPGPATH];

	compat_snapshot_path(&ProcGlobal->allProcs[number], path, sizeof(path));
	return access(path, F_OK) == 0;
}

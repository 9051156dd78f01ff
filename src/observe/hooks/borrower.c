/*
 * borrower.c
 *		Setting pool_exhaust.borrower: what a session says of its borrower.
 *
 * A client names itself when it acquires a connection, and sets the name back when
 * it releases that; so the setting may change as often as statements run.  Its hooks
 * follow the value in force, through rollbacks, SET LOCAL and RESET, to the slot
 * of the session.  There it stands under a version, odd while it is written,
 * as in PgBackendStatus: the session alone writes, and waits for no reader.
 *
 * Others than client sessions have no slot, and so say nothing: workers that got the
 * setting from their leader, walsenders, a session that has loaded the library itself.
 */
#include "postgres.h"

#include "base/compat.h"		/* first: it knows how to include libpq-be.h */
#include "libpq/auth.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/text.h"
#include "observe/hooks/hooks.h"
#include "shmem/shared.h"

static ClientAuthentication_hook_type prev_client_authentication_hook = NULL;

/* The setting; never longer than what has a place in shared memory. */
static char *borrower;

/* Where this session says it; NULL: nowhere. */
static SlotBorrower *own = NULL;

/* Nothing in here may throw: readers would take the slot for one that is written all the time. */
static void
borrower_write(int pid, const char *name)
{
	uint32		version = pg_atomic_read_u32(&own->version);
	bool		named = own->pid == pid && own->borrower.named;

	pg_atomic_write_u32(&own->version, version + 1);
	pg_write_barrier();
	own->pid = pid;
	own->started = MyStartTimestamp;
	own->borrower.named = named || name[0] != '\0';
	own->borrower.since = GetCurrentTimestamp();
	strlcpy(own->borrower.name, name, BORROWER_LEN);
	pg_write_barrier();
	pg_atomic_write_u32(&own->version, version + 2);
}

/* The setting may say anything: what is kept of it is what can be shown. */
static bool
borrower_check(char **newval, void **extra, GucSource source)
{
	char	   *name = compat_guc_malloc(BORROWER_LEN);

	if (name == NULL)
		return false;
	text_copy_printable(name, *newval, BORROWER_LEN);
	compat_guc_free(*newval);
	*newval = name;
	return true;
}

/* Also called when a transaction ends in which the setting was changed, with what is in force then. */
static void
borrower_assign(const char *newval, void *extra)
{
	if (own != NULL)
		borrower_write(MyProcPid, newval);
}

static void
borrower_leave(int code, Datum arg)
{
	borrower_write(0, "");
	own = NULL;
}

/* From here on the session has a slot to say it in; what comes with the login is set later. */
static void
borrower_login(Port *port, int status)
{
	ptrdiff_t	number = MyProc != NULL ? MyProc - ProcGlobal->allProcs : -1;

	if (prev_client_authentication_hook)
		prev_client_authentication_hook(port, status);
	if (status != STATUS_OK || shared == NULL || number < 0 || number >= MaxConnections)
		return;
	on_shmem_exit(borrower_leave, (Datum) 0);
	own = &session_slots[number].borrower;
	borrower_write(MyProcPid, borrower);
}

/* To be called from _PG_init. */
void
borrower_gucs_init(void)
{
	DefineCustomStringVariable("pool_exhaust.borrower",
							   "What has this connection now, as its client says: to be set when it is acquired, and reset when it is released.",
							   NULL,
							   &borrower, "",
							   PGC_USERSET, 0, borrower_check, borrower_assign, NULL);
}

void
borrower_init(void)
{
	prev_client_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = borrower_login;
}

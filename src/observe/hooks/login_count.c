/*
 * login_count.c
 *		Counts the logins that are granted, all of them and by service.
 *
 * A session that lives for less than a sample would never be seen, so it counts
 * itself.  Where a login succeeds there is no hook: ClientAuthentication_hook
 * comes before the limits, the reserves and the privilege to connect.  But all
 * of those are checked in one transaction, and its commit is the end of the
 * login (InitPostgres).
 */
#include "postgres.h"

#include "base/compat.h"		/* first: it knows how to include libpq-be.h */
#include "access/xact.h"
#include "libpq/auth.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "utils/timestamp.h"

#include "observe/hooks/hooks.h"
#include "shmem/names.h"

static ClientAuthentication_hook_type prev_client_authentication_hook = NULL;

/* This process is authenticated, and not through its login yet. */
static bool logging_in = false;

/* The first commit ends the login; the others are the session's own. */
static void
login_count_commit(XactEvent event, void *arg)
{
	TimestampTz now;
	Names		names;

	if (!logging_in || event != XACT_EVENT_COMMIT)
		return;
	logging_in = false;
	names_fill(&names, CAUSE_NONE, MyProcPort->user_name, NULL, MyProcPort->application_name);
	pg_atomic_fetch_add_u64(&shared->opened.count, 1);
	if (run_of_role(MyProcPort->user_name) != NULL)
		pg_atomic_fetch_add_u64(&shared->run_opened.count, 1);
	now = GetCurrentTimestamp();
	if (!names_count(&shared->services, &names, now))
		names_count_others(&shared->services, now);
}

/* Replication has slots of its own. */
static void
login_count_observe(Port *port, int status)
{
	if (prev_client_authentication_hook)
		prev_client_authentication_hook(port, status);

	if (status == STATUS_OK && shared != NULL && !am_walsender)
		logging_in = true;
}

void
login_count_init(void)
{
	RegisterXactCallback(login_count_commit, NULL);
	prev_client_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = login_count_observe;
}

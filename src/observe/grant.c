/*
 * grant.c
 *		Counts the sessions that are let in, all of them and by service.
 *
 * A session that lives for less than a sample would never be seen, so it is
 * counted where it comes in: ClientAuthentication_hook.  Some checks follow
 * that hook (CONNECTION LIMIT, reserved slots, CONNECT privilege); a session
 * that fails one of them is taken back by the FATAL that ends it.
 */
#include "postgres.h"

#include "compat.h"				/* first: it knows how to include libpq-be.h */
#include "libpq/auth.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "utils/timestamp.h"

#include "grant.h"
#include "names.h"

static ClientAuthentication_hook_type prev_client_authentication_hook = NULL;

/* This process has counted itself, and is not through its login yet. */
static bool granted = false;

static void
session_names(Names *names, const Port *port)
{
	names_fill(names, CAUSE_NONE, port->user_name, NULL, port->application_name);
}

static void
grant_observe(Port *port, int status)
{
	if (prev_client_authentication_hook)
		prev_client_authentication_hook(port, status);

	if (status == STATUS_OK && shared != NULL && !am_walsender)
	{
		Names		names;

		session_names(&names, port);
		pg_atomic_fetch_add_u64(&shared->opened, 1);
		names_count(&shared->services, &names, GetCurrentTimestamp());
		granted = true;
	}
}

/* A FATAL ends this process: if that is before it was let in, it never was. */
void
grant_revoke(void)
{
	Names		names;
	NameEntry  *entry;

	if (!granted || !IsInitProcessingMode())
		return;
	granted = false;
	session_names(&names, MyProcPort);
	entry = names_find(&shared->services, &names, false);
	pg_atomic_fetch_sub_u64(&shared->opened, 1);
	pg_atomic_fetch_sub_u64(entry != NULL ? &entry->count : &shared->services.others, 1);
}

/* To be called from _PG_init while shared_preload_libraries is processed. */
void
grant_init(void)
{
	prev_client_authentication_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = grant_observe;
}

uint64
grant_total(void)
{
	return pg_atomic_read_u64(&shared->opened);
}

uint64
grant_count(void)
{
	return grant_total() - pg_atomic_read_u64(&shared->opened_reset);
}

void
grant_reset(void)
{
	pg_atomic_write_u64(&shared->opened_reset, grant_total());
	names_empty(&shared->services);
}

/*
 * refusal.c
 *		The refusal ledger: emit_log_hook -> counters by cause.
 *
 * PostgreSQL itself counts only the refusals of a database's CONNECTION LIMIT
 * (pg_stat_database.sessions_fatal); the others reach nothing but the log.  The
 * hook sees every FATAL on its way there, also in a child that was refused
 * before it got a PGPROC.  Such a process may not take an LWLock, so the
 * ledger is made of atomics.  A refusal that log_min_messages keeps out of the
 * log is not seen: ledger_note_blindness().
 */
#include "postgres.h"

#include <netinet/in.h>

#include "miscadmin.h"
#include "replication/walsender.h"
#include "utils/inet.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "observe/hooks/hooks.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

static emit_log_hook_type prev_emit_log_hook = NULL;

RunEntry *
run_of_role(const char *usename)
{
	int			number;

	if (usename == NULL || strncmp(usename, ROLE_PREFIX, strlen(ROLE_PREFIX)) != 0)
		return NULL;
	number = atoi(usename + strlen(ROLE_PREFIX));
	return number >= 1 && number <= RUNS_MAX * RUN_PARTIES_MAX ? &shared->runs[ROLE_ENTRY(number)] : NULL;
}

/*
 * Writes the client's address as type inet has it, with as much of it as the scope
 * says: 192.0.2.7, 192.0.2.0/24, 0.0.0.0/0.  Unix sockets have none.
 */
static void
client_addr_fill(char *text, AddressScope scope)
{
	static const int bytes_v4[ADDRESS_SCOPES] = {4, 3, 0};
	static const int bytes_v6[ADDRESS_SCOPES] = {16, 8, 0};
	const struct sockaddr_storage *addr = &MyProcPort->raddr.addr;
	uint8		network[16] = {0};

	memset(text, 0, CLIENT_ADDR_LEN);
	if (addr->ss_family == AF_INET)
	{
		memcpy(network, &((const struct sockaddr_in *) addr)->sin_addr, bytes_v4[scope]);
		pg_inet_net_ntop(PGSQL_AF_INET, network, bytes_v4[scope] * BITS_PER_BYTE, text, CLIENT_ADDR_LEN);
	}
	else if (addr->ss_family == AF_INET6)
	{
		memcpy(network, &((const struct sockaddr_in6 *) addr)->sin6_addr, bytes_v6[scope]);
		pg_inet_net_ntop(PGSQL_AF_INET6, network, bytes_v6[scope] * BITS_PER_BYTE, text, CLIENT_ADDR_LEN);
	}
}

/* Counts the service, with as much of its client's address as there is a place for. */
static void
service_refused_count(Cause cause, TimestampTz now)
{
	Names		names;

	names_fill(&names, cause, MyProcPort->user_name, MyProcPort->database_name,
			   MyProcPort->application_name);
	for (AddressScope scope = ADDRESS_HOST; scope < ADDRESS_SCOPES; scope++)
	{
		client_addr_fill(names.client_addr, scope);
		/* Without an address there is one table for it. */
		if ((names.client_addr[0] != '\0' || scope == ADDRESS_ANY) &&
			names_count(&shared->refused[scope], &names, now))
			return;
	}
	names_count_others(&shared->refused[ADDRESS_ANY], now);
}

static void
refusal_count_one(Cause cause)
{
	RefusalCounter *counter = &shared->refusals[cause];
	RunEntry   *run = run_of_role(MyProcPort->user_name);
	TimestampTz now = GetCurrentTimestamp();
	uint64		never = 0;

	/* First, so that a run never takes its own refusal for that of another session. */
	if (run != NULL)
	{
		pg_atomic_fetch_add_u64(&run->refused[cause], 1);
		pg_atomic_fetch_add_u64(&counter->of_runs.count, 1);
	}
	pg_atomic_fetch_add_u64(&counter->all.count, 1);
	pg_atomic_compare_exchange_u64(&counter->first_at, &never, (uint64) now);
	pg_atomic_write_u64(&counter->last_at, (uint64) now);
	service_refused_count(cause, now);
	monitor_wake();
}

/*
 * emit_log_hook.  Allocates nothing, locks nothing, throws nothing.  Only a
 * FATAL in a process that serves a client (it has a Port) and is not through
 * its login ends an attempt to connect; a later one has any SQLSTATE it likes.
 */
static void
refusal_observe(ErrorData *edata)
{
	if (edata->elevel == FATAL && shared != NULL && MyProcPort != NULL &&
		IsInitProcessingMode())
	{
		Cause		cause = cause_classify(unpack_sql_state(edata->sqlerrcode),
										   edata->funcname);

		if (cause == CAUSE_TOO_MANY_CLIENTS && am_walsender)
			cause = CAUSE_WALSENDER_LIMIT;
		if (cause != CAUSE_NONE)
			refusal_count_one(cause);
	}

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

void
refusal_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = refusal_observe;
}

/*
 * health_log.c
 *		Changes of health: remembered, logged, sent by NOTIFY.
 *
 * NOTIFY reaches the sessions of one database, and a process that connects to a
 * database can neither leave it nor let it be dropped.  So the monitor does not
 * connect to one; it sends a messenger, a worker that lives for one transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "mb/pg_wchar.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/text.h"
#include "event/worker.h"
#include "observe/monitor/health_log.h"
#include "sql/connect.h"
#include "shmem/ring.h"

#define CHANNEL "pool_exhaust"

/* The task of a messenger; it travels in bgw_extra. */
typedef struct Errand
{
	uint64		from;			/* these two count transitions */
	uint64		to;
	char		database[NAMEDATALEN];
} Errand;

StaticAssertDecl(sizeof(Errand) <= BGW_EXTRALEN, "an errand must fit into bgw_extra");

static char *notify_database;

/* These two count transitions that this process has logged, and has sent. */
static uint64 logged;
static uint64 sent;
static BackgroundWorkerHandle *messenger;	/* the last one; it may have ended */

void
health_log_init(void)
{
	DefineCustomStringVariable("pool_exhaust.notify_database",
							   "Database in which changes of health are sent by NOTIFY, on channel pool_exhaust.",
							   "Empty sends none.",
							   &notify_database, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* Remembers a change of health.  Needs the lock. */
void
health_log_add(const MonitoredPool *pool, Health was, uint64 refused, TimestampTz at,
			   uint64 at_us)
{
	Observed   *observed = &shared->observed;
	HealthChange *t = &observed->health_changes[observed->health_changes_written++ % HEALTH_CHANGES_MAX];

	*t = (HealthChange) {at, at_us, pool->limit, was, pool->judge.health, pool->in_use, refused};
}

/* A new monitor does not log again what the one before it has logged. */
void
health_log_skip(void)
{
	logged = sent = ring_written(&shared->observed.health_changes_written);
}

/* Copies the next transition that is not "seen"; false if there is none. */
static bool
health_log_read(uint64 *seen, HealthChange *transition)
{
	const Observed *observed = &shared->observed;

	return ring_read(observed->health_changes, sizeof(HealthChange), HEALTH_CHANGES_MAX,
					 &observed->health_changes_written, seen, transition);
}

bool
health_log_next(PoolKind kind, Oid oid, uint64 *seen, HealthChange *transition)
{
	while (health_log_read(seen, transition))
		if (transition->limit.kind == kind && transition->limit.oid == oid)
			return true;
	return false;
}

/*
 * The pools that runs make for themselves come and go, and a limit of 0 closes a
 * pool: neither is a reason for an alarm.
 */
static bool
is_no_alarm(const HealthChange *t)
{
	const char *number = t->limit.name + strlen(ROLE_PREFIX);

	return t->limit.capacity == 0 ||
		(t->limit.kind == POOL_ROLE && strncmp(t->limit.name, ROLE_PREFIX, strlen(ROLE_PREFIX)) == 0 &&
		 strspn(number, "0123456789") == strlen(number));
}

/*
 * Sends a messenger with what was logged and not sent, unless the one before is
 * still under way: only so do all arrive in their order.  Its end wakes this
 * process.
 */
static void
messenger_send(void)
{
	MemoryContext old;
	BackgroundWorker worker;
	Errand		errand = {.from = sent, .to = logged};
	bool		launched;
	pid_t		pid;

	if (sent == logged || notify_database[0] == '\0' || RecoveryInProgress())
	{
		sent = logged;
		return;
	}
	if (messenger != NULL && GetBackgroundWorkerPid(messenger, &pid) != BGWH_STOPPED)
		return;
	if (messenger != NULL)
		pfree(messenger);
	messenger = NULL;

	strlcpy(errand.database, notify_database, NAMEDATALEN);
	worker_describe(&worker, "messenger", "messenger_main");
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &errand, sizeof(errand));
	sent = logged;
	old = MemoryContextSwitchTo(TopMemoryContext);	/* for the handle */
	launched = RegisterDynamicBackgroundWorker(&worker, &messenger);
	MemoryContextSwitchTo(old);
	if (!launched)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("pool_exhaust cannot notify of a change of health: no background worker is free"),
				 errhint("Raise max_worker_processes.")));
}

/*
 * Logs the changes of health that this process has not logged yet, and sends them
 * by NOTIFY if there is a database to do so.  To be called now and then.
 */
void
health_log_write(void)
{
	HealthChange t;

	while (health_log_read(&logged, &t))
	{
		if (is_no_alarm(&t))
		{
			/* Nothing to send, if it is the only one. */
			sent += sent == logged - 1;
			continue;
		}
		ereport(LOG,
				(errmsg("pool_exhaust: health of %s \"%s\" is %s, was %s",
						OidIsValid(t.limit.oid) ? pool_kind_names[t.limit.kind] : "pool", text_printable(t.limit.name),
						health_names[t.health], health_names[t.was]),
				 errdetail("%d of %d connections are in use, " UINT64_FORMAT " were refused since the last sample.",
						   t.in_use, t.limit.capacity, t.refused)));
	}
	messenger_send();
}

static char *
health_log_json(HealthChange *t)
{
	StringInfoData json;
	char		at[MAXDATELEN + 1];

	initStringInfo(&json);
	text_make_valid(t->limit.name, GetDatabaseEncoding());
	appendStringInfoString(&json, "{\"pool\": ");
	escape_json(&json, t->limit.name);
	appendStringInfo(&json, ", \"kind\": \"%s\", \"health\": \"%s\", \"was\": \"%s\", "
					 "\"in_use\": %d, \"capacity\": %d, \"utilization\": ",
					 pool_kind_names[t->limit.kind], health_names[t->health], health_names[t->was],
					 t->in_use, t->limit.capacity);
	if (t->limit.capacity > 0)
		appendStringInfo(&json, "%.4g", (double) t->in_use / t->limit.capacity);
	else
		appendStringInfoString(&json, "null");
	JsonEncodeDateTime(at, TimestampTzGetDatum(t->at), TIMESTAMPTZOID, NULL);
	appendStringInfo(&json, ", \"refused\": " UINT64_FORMAT ", \"at\": \"%s\"}", t->refused, at);
	return json.data;
}

/* A messenger: sends the transitions of its errand, and ends. */
void
messenger_main(Datum arg)
{
	Errand		errand;
	HealthChange t;

	memcpy(&errand, MyBgworkerEntry->bgw_extra, sizeof(errand));
	BackgroundWorkerUnblockSignals();
	worker_connect(InvalidOid, errand.database, 0);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	while (errand.from < errand.to && health_log_read(&errand.from, &t))
		if (!is_no_alarm(&t))
			Async_Notify(CHANNEL, health_log_json(&t));
	CommitTransactionCommand();
}

/*
 * refusal.c
 *		The refusal ledger: emit_log_hook -> counters by cause.
 *
 * PostgreSQL itself counts only the refusals of a database's CONNECTION LIMIT
 * (pg_stat_database.sessions_fatal); the others reach nothing but the log.  The
 * hook sees every FATAL on its way there, also in a child that was refused
 * before it got a PGPROC.  Such a process may not take an LWLock, so the
 * ledger is made of atomics.  A refusal that log_min_messages keeps out of the
 * log ("panic") is not seen.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "observe/hooks/refusal.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"

static emit_log_hook_type prev_emit_log_hook = NULL;

PG_FUNCTION_INFO_V1(pool_exhaust_refusals_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_refused_services_rows);

/* If the name is that of a run's role, the run keeps a count of its own. */
static void
run_refused_count(Cause cause, const char *usename)
{
	int			number;

	if (usename == NULL || strncmp(usename, ROLE_PREFIX, strlen(ROLE_PREFIX)) != 0)
		return;
	number = atoi(usename + strlen(ROLE_PREFIX));
	if (number >= 1 && number <= RUNS_MAX * RUN_PARTIES_MAX)
		pg_atomic_fetch_add_u64(&shared->runs[ROLE_ENTRY(number)].refused[cause], 1);
}

static void
refusal_count_one(Cause cause)
{
	RefusalCounter *counter = &shared->refusals[cause];
	TimestampTz now = GetCurrentTimestamp();
	uint64		never = 0;
	Names		names;

	/* First, so that a run never takes its own refusal for somebody else's. */
	run_refused_count(cause, MyProcPort->user_name);
	pg_atomic_fetch_add_u64(&counter->refusals, 1);
	pg_atomic_compare_exchange_u64(&counter->first_at, &never, (uint64) now);
	pg_atomic_write_u64(&counter->last_at, (uint64) now);
	names_fill(&names, cause, MyProcPort->user_name, MyProcPort->database_name,
			   MyProcPort->application_name);
	names_count(&shared->refused, &names, now);
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

uint64
refusal_count(Cause cause)
{
	RefusalCounter *counter = &shared->refusals[cause];
	uint64		reset = pg_atomic_read_u64(&counter->reset);

	pg_read_barrier();			/* so that it is not the later one */
	return pg_atomic_read_u64(&counter->refusals) - reset;
}

uint64
refusal_count_slots(void)
{
	uint64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			sum += pg_atomic_read_u64(&shared->refusals[i].refusals);
	return sum;
}

/* The slot cause that somebody was refused for last, CAUSE_NONE if nobody was. */
Cause
refusal_last_slots(void)
{
	Cause		last = CAUSE_NONE;
	uint64		last_at = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		uint64		at = pg_atomic_read_u64(&shared->refusals[i].last_at);

		if (cause_kinds[i].takes_slots && at > last_at)
		{
			last = i;
			last_at = at;
		}
	}
	return last;
}

/* The ledger starts anew. */
void
refusal_reset(void)
{
	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		RefusalCounter *counter = &shared->refusals[i];

		pg_atomic_write_u64(&counter->reset, pg_atomic_read_u64(&counter->refusals));
		pg_atomic_write_u64(&counter->first_at, 0);
		pg_atomic_write_u64(&counter->last_at, 0);
	}
	names_empty(&shared->refused);
}

static void
time_or_null(Datum *value, bool *isnull, uint64 at)
{
	*isnull = (at == 0);
	*value = TimestampTzGetDatum((TimestampTz) at);
}

/* The rows of view pool_exhaust_refusals. */
Datum
pool_exhaust_refusals_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		RefusalCounter *counter = &shared->refusals[i];
		Datum		values[6];
		bool		nulls[6] = {false};

		values[0] = CStringGetTextDatum(cause_kinds[i].name);
		values[1] = CStringGetTextDatum(cause_kinds[i].sqlstate);
		values[2] = Int64GetDatum((int64) refusal_count(i));
		time_or_null(&values[3], &nulls[3], pg_atomic_read_u64(&counter->first_at));
		time_or_null(&values[4], &nulls[4], pg_atomic_read_u64(&counter->last_at));
		values[5] = Int32GetDatum(cause_kinds[i].http_status);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static void
refused_put(ReturnSetInfo *rsinfo, const char *cause, const char *names[3],
			uint64 refusals, uint64 last_at)
{
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = CStringGetTextDatum(cause);
	for (int i = 0; i < 3; i++)
		values[1 + i] = CStringGetTextDatum(names[i]);
	values[4] = Int64GetDatum((int64) refusals);
	time_or_null(&values[5], &nulls[5], last_at);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The rows of view pool_exhaust_refused_services, which adds up equal names. */
Datum
pool_exhaust_refused_services_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	uint64		others;

	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->refused, i);
		const Names *names;

		if (entry == NULL)
			continue;
		names = &entry->names;
		refused_put(rsinfo, cause_kinds[names->cause].name,
					(const char *[]) {names->usename, names->datname, names->application_name},
					pg_atomic_read_u64(&entry->count),
					pg_atomic_read_u64(&entry->last_at));
	}
	others = pg_atomic_read_u64(&shared->refused.others);
	if (others > 0)
		refused_put(rsinfo, NAMES_OTHERS,
					(const char *[]) {NAMES_OTHERS, NAMES_OTHERS, NAMES_OTHERS}, others,
					pg_atomic_read_u64(&shared->refused.others_at));
	return (Datum) 0;
}

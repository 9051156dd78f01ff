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
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "refusal.h"
#include "shared.h"

/* Places to look at before a refused service is counted among the others. */
#define PROBES_MAX 16

#define OTHERS "(others)"

static emit_log_hook_type prev_emit_log_hook = NULL;

PG_FUNCTION_INFO_V1(pool_exhaust_refusals_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_refused_services_rows);

/*
 * Copies a name that arrived unauthenticated: printable ASCII stays, every
 * other byte becomes '?', what is too long is cut.
 */
static void
name_sanitise(char *dst, const char *src)
{
	int			i = 0;

	if (src != NULL)
		for (; src[i] != '\0' && i < NAMEDATALEN - 1; i++)
			dst[i] = (src[i] >= ' ' && src[i] <= '~') ? src[i] : '?';
	memset(dst + i, 0, NAMEDATALEN - i);
}

/* Claims an empty place for these names; false if another process was faster. */
static bool
refused_claim(RefusedService *entry, const RefusedService *names)
{
	uint32		empty = REFUSED_EMPTY;

	if (!pg_atomic_compare_exchange_u32(&entry->state, &empty, REFUSED_WRITING))
		return false;
	entry->cause = names->cause;
	memcpy(entry->usename, names->usename, NAMEDATALEN);
	memcpy(entry->datname, names->datname, NAMEDATALEN);
	memcpy(entry->application_name, names->application_name, NAMEDATALEN);
	pg_write_barrier();
	pg_atomic_write_u32(&entry->state, REFUSED_READY);
	return true;
}

static bool
refused_matches(RefusedService *entry, const RefusedService *names)
{
	if (pg_atomic_read_u32(&entry->state) != REFUSED_READY)
		return false;
	pg_read_barrier();
	return entry->cause == names->cause &&
		strcmp(entry->usename, names->usename) == 0 &&
		strcmp(entry->datname, names->datname) == 0 &&
		strcmp(entry->application_name, names->application_name) == 0;
}

/*
 * Counts a refused service.  Two processes that bring the same new names at
 * the same time may each get a place; the view adds them up.
 */
static void
refused_count(Cause cause, const Port *port, TimestampTz now)
{
	RefusedService names;
	uint32		hash;

	names.cause = cause;
	name_sanitise(names.usename, port->user_name);
	name_sanitise(names.datname, port->database_name);
	name_sanitise(names.application_name, port->application_name);
	hash = (uint32) cause;
	hash = hash_combine(hash, hash_bytes((unsigned char *) names.usename, NAMEDATALEN));
	hash = hash_combine(hash, hash_bytes((unsigned char *) names.datname, NAMEDATALEN));
	hash = hash_combine(hash, hash_bytes((unsigned char *) names.application_name, NAMEDATALEN));

	for (int i = 0; i < PROBES_MAX; i++)
	{
		RefusedService *entry = &shared->refused[(hash + i) % REFUSED_MAX];

		if (refused_matches(entry, &names) || refused_claim(entry, &names))
		{
			pg_atomic_fetch_add_u64(&entry->refusals, 1);
			pg_atomic_write_u64(&entry->last_at, (uint64) now);
			return;
		}
	}
	pg_atomic_fetch_add_u64(&shared->refused_others, 1);
	pg_atomic_write_u64(&shared->refused_others_at, (uint64) now);
}

/* If the name is that of a run's role, the run keeps a count of its own. */
static void
run_refused_count(Cause cause, const char *usename)
{
	int			place;

	if (usename == NULL || strncmp(usename, ROLE_PREFIX, strlen(ROLE_PREFIX)) != 0)
		return;
	place = atoi(usename + strlen(ROLE_PREFIX)) - 1;
	if (place >= 0 && place < RUNS_MAX)
		pg_atomic_fetch_add_u64(&shared->runs[place].refused[cause], 1);
}

static void
refusal_count_one(Cause cause)
{
	RefusalCounter *counter = &shared->refusals[cause];
	TimestampTz now = GetCurrentTimestamp();
	uint64		never = 0;

	pg_atomic_fetch_add_u64(&counter->refusals, 1);
	pg_atomic_compare_exchange_u64(&counter->first_at, &never, (uint64) now);
	pg_atomic_write_u64(&counter->last_at, (uint64) now);
	run_refused_count(cause, MyProcPort->user_name);
	refused_count(cause, MyProcPort, now);
}

/*
 * emit_log_hook.  Allocates nothing, locks nothing, throws nothing.  Only a
 * FATAL in a process that serves a client (it has a Port) ends an attempt to
 * connect.
 */
static void
refusal_observe(ErrorData *edata)
{
	if (edata->elevel == FATAL && shared != NULL && MyProcPort != NULL)
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

/* Refusals of one cause since the server started. */
static uint64
refusal_count(Cause cause)
{
	return pg_atomic_read_u64(&shared->refusals[cause].refusals);
}

uint64
refusal_count_slots(void)
{
	uint64		sum = 0;

	for (int i = 0; i < CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			sum += refusal_count(i);
	return sum;
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
	for (int i = 0; i < CAUSES; i++)
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
	for (int i = 0; i < REFUSED_MAX; i++)
	{
		RefusedService *entry = &shared->refused[i];

		if (pg_atomic_read_u32(&entry->state) != REFUSED_READY)
			continue;
		pg_read_barrier();
		refused_put(rsinfo, cause_kinds[entry->cause].name,
					(const char *[]) {entry->usename, entry->datname, entry->application_name},
					pg_atomic_read_u64(&entry->refusals),
					pg_atomic_read_u64(&entry->last_at));
	}
	others = pg_atomic_read_u64(&shared->refused_others);
	if (others > 0)
		refused_put(rsinfo, OTHERS, (const char *[]) {OTHERS, OTHERS, OTHERS}, others,
					pg_atomic_read_u64(&shared->refused_others_at));
	return (Datum) 0;
}

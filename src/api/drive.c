/*
 * drive.c
 *		pool_exhaust_drive(): this server generates load for a run of another one.
 *
 * The sessions of the load belong to the backend of the coordinator's session, on an event
 * loop of its own: so they end with that session, however it ends.  A coordinator that is
 * silent for too long is none any more; PostgreSQL ends its session then, by
 * idle_session_timeout.  The loop turns during a call alone, which is for what was ordered;
 * between two calls connections are held, and nothing else.
 *
 * What it may log in to is a foreign server of this database that the coordinator's role
 * has USAGE and a user mapping on: no address and no password comes from elsewhere.  What
 * clients run there does: SQL that a workload may be, as the user of that mapping.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "api/rows.h"
#include "base/compat.h"
#include "base/text.h"
#include "event/descriptors.h"
#include "load/drive_crowd.h"
#include "load/drive_load.h"
#include "load/driver.h"
#include "load/failure.h"
#include "load/pool/pool.h"
#include "load/resolve.h"
#include "load/target/local_endpoint.h"
#include "load/target/probe.h"
#include "request/preflight.h"
#include "request/workload.h"
#include "shmem/drives.h"
#include "shmem/request.h"
#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"

PG_FUNCTION_INFO_V1(pool_exhaust_drive_open);
PG_FUNCTION_INFO_V1(pool_exhaust_drive);
PG_FUNCTION_INFO_V1(pool_exhaust_drive_load);
PG_FUNCTION_INFO_V1(pool_exhaust_drive_stop);
PG_FUNCTION_INFO_V1(pool_exhaust_drive_crowd);

#define LOGIN_WAIT_MS	(5 * 1000)
#define AHEAD_US		(5 * INT64CONST(1000000))	/* an order may be for a moment no later than that */
#define CALL_MAX_MS		1000
#define HANDSHAKES_MAX	240
#define TURN_MS			20

#define NOT_HERE "Its load would compete with the recovery, and no run of its own is possible there either."

/* The client's socket is checked that often. */
#define SOCKET_US		(100 * 1000)

/* While clients play it is measured so often how late the loop turns. */
#define TICK_US			(10 * 1000)

/*
 * A drive turns its loop that often, however busy it is, or else the monitor has it end:
 * its coordinator has given it up by then.  Between two calls it is for idle_session_timeout first.
 */
#define STILL_MS		(DRIVER_SILENCE_MS + 500)
#define REST_MS			(COORDINATOR_SILENCE_MS + 100)

/* Grants that a drive reports in order. */
#define ORDERED_MAX		1000000

typedef struct Drive
{
	MemoryContext context;
	Loop		loop;
	AlarmClock	clock;
	Alarm		tick;
	uint64		absent_us;		/* so late it rang at the most, or something began */
	Load	   *loads[DRIVE_LOADS_MAX]; /* by their numbers; NULL: none */
	GrantOrder	order;			/* of loads whose grants are reported in order */
	Crowd	   *crowd;			/* NULL: none */
	Probe		shared;			/* has what the coordinator says of the pool that clients share */
	const char *name;			/* of the target here, to be shown */
	Endpoint   *endpoint;
	Resolve		resolve;
	Pool	   *pool;
	Histogram	waits;			/* of the grants since the last report */
	uint64		deadline_us;
	uint64		socket_us;		/* when the client's socket is checked again */
	uint64		began_us;		/* when it began what was asked for at a set time; 0 = nothing was */
} Drive;

static Drive *drive;			/* of this session; NULL: none */

/* ---------- Its end ---------- */

/* Closes all that it holds.  May be called at any time. */
static void
drive_end(void)
{
	Drive	   *ended = drive;

	if (ended == NULL)
		return;
	drive = NULL;
	resolve_give_up(&ended->resolve);
	if (ended->pool != NULL)
	{
		alarm_clock_close(&ended->clock);
		pool_close(ended->pool);
	}
	loop_close(&ended->loop);
	MemoryContextDelete(ended->context);
	drive_says(0);
}

/* before_shmem_exit: the target sees its clients leave. */
static void
drive_exit(int code, Datum arg)
{
	drive_end();
}

/* FATAL if the coordinator has gone: a backend that is at work does not learn that by itself. */
static void
require_coordinator(void)
{
	uint64		now_us = loop_now_us();

	drive_says(STILL_MS);
	if (now_us < drive->socket_us)
		return;
	drive->socket_us = now_us + SOCKET_US;
	if (!pq_check_connection())
		ereport(FATAL,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the coordinator of the drive is gone")));
}

static void
drive_turn(uint64 end_us)
{
	uint64		now_us = loop_now_us();

	require_coordinator();
	loop_turn(&drive->loop, now_us >= end_us ? 0 : (int) Min((end_us - now_us) / 1000, TURN_MS));
}

/* ---------- To begin ---------- */

/* The foreign server of that name; ERROR if there is none, or the caller may not aim at it. */
static RunRequest
target_require_here(const char *name)
{
	RunRequest	request = {0};

	if (!foreign_find(name, &request) || !target_types[request.target]->driven)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no target \"%s\" here that sessions may be driven to", text_printable(name)),
				 errhint("A driver aims only where its own administrator says: CREATE SERVER %s FOREIGN DATA WRAPPER pool_exhaust ..., GRANT USAGE and CREATE USER MAPPING for role %s here.",
						 quote_identifier(text_printable(name)), GetUserNameFromId(GetUserId(), false))));
	return request;
}

/* Sessions of runs have names by which they are known, and others have none of these. */
static void
require_name(const char *name)
{
	const char *digits = name + strlen(RUN_APPLICATION_NAME);

	if (strncmp(name, RUN_APPLICATION_NAME " ", strlen(RUN_APPLICATION_NAME) + 1) != 0 || strlen(name) >= NAMEDATALEN ||
		strspn(digits + 1, "0123456789abcdef-") != strlen(digits + 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is no name of the sessions of a run", text_printable(name)),
				 errhint("This function is for the coordinator of a run: see option \"drivers\".")));
}

static void
require_between(const char *what, int64 value, int64 min, int64 max)
{
	if (value < min || value > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is " INT64_FORMAT ", outside the bounds " INT64_FORMAT " to " INT64_FORMAT, what, value, min, max),
				 errhint("This function is for the coordinator of a run: see option \"drivers\".")));
}

static bool
never(void *arg)
{
	require_coordinator();
	return false;
}

/* ERROR: it cannot log in. */
pg_noreturn static void
target_missed(const char *what, const ConnectResult *failure)
{
	if (strcmp(failure->sqlstate, PASSWORD_NOT_ASKED) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("%s", foreign_login_unasked("", drive->name))));
	ereport(ERROR,
			(errcode(failure_code(failure)),
			 errmsg("could not %s %s: %s", what, drive->name, text_printable(connect_failure_text(failure)))));
}

/* Returns how many addresses the host has; 0: it is a socket. */
static int
target_resolve(void)
{
	const char *host = drive->endpoint->host;
	uint64		end_us = loop_now_us() + LOGIN_WAIT_MS * 1000;
	ConnectResult failure;
	int			n;

	if (host_is_socket(host))
		return 0;
	resolve_begin(&drive->resolve, &drive->loop, host);
	while (!drive->resolve.done && loop_now_us() < end_us)
		drive_turn(end_us);
	n = resolve_end(&drive->resolve, host, &failure);
	if (n == 0)
		target_missed("find", &failure);
	return n;
}

/* Logs in and out, at one address after the other, and keeps the first that answers. */
static void
target_log_in(void)
{
	Endpoint   *endpoint = drive->endpoint;
	int			n = target_resolve();
	ConnectResult result = {CONNECT_BROKEN, CAUSE_NONE};

	for (int i = 0; i < Max(n, 1); i++)
	{
		LocalEndpoint local = {.name = unconstify(char *, drive->name), .login = endpoint->login};

		if (n > 0)
			login_add(&local.login, "hostaddr", drive->resolve.addresses.text[i]);
		result = local_endpoint_try(&drive->loop, &local, InvalidOid, LOGIN_WAIT_MS, never, NULL);
		if (result.end == CONNECT_BROKEN || result.end == CONNECT_TIMED_OUT)
			continue;
		endpoint->login = local.login;
		break;
	}
	if (result.end != CONNECT_GRANTED)
		target_missed("log in to", &result);
}

static void
drive_make(const RunRequest *request)
{
	static bool at_exit = false;
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "pool_exhaust drive", ALLOCSET_DEFAULT_SIZES);

	if (!at_exit)
		before_shmem_exit(drive_exit, 0);
	at_exit = true;
	drive = MemoryContextAllocZero(context, sizeof(Drive));
	drive->context = context;
	MemoryContextSwitchTo(context);
	drive->name = text_printable(request->target_name);
	drive->endpoint = foreign_endpoint(request);
	loop_open(&drive->loop, "PoolExhaustDrive");
}

/* ERROR unless it is "", for a pool that nothing shares, or a mode of PgBouncer. */
static void
require_mode(const char *mode)
{
	if (mode[0] != '\0' && !pgbouncer_mode_is_known(mode))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is no mode of a pool", text_printable(mode)),
				 errhint("This function is for the coordinator of a run: see option \"drivers\".")));
}

/* What clients of PgBouncer share is of this mode, and so many connections of it are the share of this driver. */
static Pool *
open_shared(const ServerPoolConfig *config, const char *mode, int pool_size)
{
	BouncerPoolConfig bouncer = {
		.loop = config->loop,
		.login = config->login,
		.probe = &drive->shared,
		.handshakes = config->handshakes,
		.timeout_ms = config->timeout_ms,
		.clients_max = config->sessions_max,
	};

	strlcpy(drive->shared.figures.mode, mode, POOL_MODE_LEN);
	drive->shared.figures.pool_size = pool_size;
	return pool_open_pgbouncer(&bouncer);
}

static bool drive_rests(void);

/* It is late by what kept the loop from turning: the time between two calls, or a busy machine. */
static void
drive_ticks(Alarm *tick)
{
	uint64		now_us = loop_now_us();

	drive->absent_us = Max(drive->absent_us, now_us - tick->at_us);
	if (!drive_rests())
		alarm_set(&drive->clock, tick, now_us + TICK_US);
}

static void
begin_ticks(void)
{
	if (!drive->tick.set)
		alarm_set(&drive->clock, &drive->tick, loop_now_us() + TICK_US);
}

static void
drive_open_pool(int connections, int handshakes, int timeout_ms, const char *mode, int pool_size)
{
	ServerPoolConfig config = {
		.type = &pool_postgres,
		.loop = &drive->loop,
		.login = &drive->endpoint->login,
		.handshakes = handshakes,
		.timeout_ms = timeout_ms,
		.sessions_max = connections,
	};

	(void) descriptors_raise(connections);
	alarm_clock_open(&drive->clock, &drive->loop);
	drive->tick.ring = drive_ticks;
	drive->pool = mode[0] != '\0' ? open_shared(&config, mode, pool_size) : pool_open_server(&config);
	drive->pool->latency = &drive->waits;
}

/*
 * SQL: prepares this session to drive sessions of that name to a target of this database:
 * so many at the most, and logins at once.  Those to PgBouncer share a pool of that mode
 * and size, if the mode is not empty.  Returns the kind of the target, and the role that
 * it logs in there as.
 */
Datum
pool_exhaust_drive_open(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			connections = PG_GETARG_INT32(2);
	char	   *mode = text_to_cstring(PG_GETARG_TEXT_PP(5));
	RunRequest	request;
	const char *user;
	int64		time_ms;

	preflight_server("cannot drive", NOT_HERE);
	if (drive != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("this session drives already"),
				 errhint("A session drives for one run, and ends with it.")));
	require_name(name);
	require_between("connections", connections, 1, FOREIGN_CLIENTS_MAX);
	require_between("handshakes", PG_GETARG_INT32(3), 1, HANDSHAKES_MAX);
	require_between("timeout_ms", PG_GETARG_INT32(4), 1, DAY_MS);
	require_mode(mode);
	require_between("pool_size", PG_GETARG_INT32(6), 1, FOREIGN_CLIENTS_MAX);
	time_ms = preflight_drive(connections);
	request = target_require_here(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_TRY();
	{
		drive_make(&request);
		drive->deadline_us = loop_now_us() + time_ms * 1000;
		login_add(&drive->endpoint->login, "application_name", pstrdup(name));
		foreign_share_require(&request, drive->endpoint, PG_GETARG_INT32(3), connections);
		target_log_in();
		drive_open_pool(connections, PG_GETARG_INT32(3), PG_GETARG_INT32(4), mode, PG_GETARG_INT32(6));
	}
	PG_CATCH();
	{
		drive_end();
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	drive_says(REST_MS);
	SetConfigOption("idle_session_timeout", psprintf("%d", COORDINATOR_SILENCE_MS), PGC_USERSET, PGC_S_SESSION);
	user = login_value(&drive->endpoint->login, "user");
	row_text(&row, target_types[request.target]->name);
	row_text(&row, user != NULL ? user : "");
	row_end(&row);
	return (Datum) 0;
}

/* ---------- Orders ---------- */

/* Nothing is wanted, and no client is under way or to come. */
static bool
drive_rests(void)
{
	for (int i = 0; i < DRIVE_LOADS_MAX; i++)
		if (drive->loads[i] != NULL && !load_is_over(drive->loads[i]))
			return false;
	return drive->pool->stats.wanted == 0 && (drive->crowd == NULL || crowd_rests(drive->crowd));
}

/* Turns the loop until that moment, if it is not 0, and no longer. */
static void
drive_await(uint64 at_us)
{
	if (at_us == 0)
		return;
	while (loop_now_us() < at_us)
		drive_turn(at_us);
	drive->began_us = loop_now_us();
	drive->absent_us = Max(drive->absent_us, drive->began_us - at_us);
}

/* Turns the loop as long as there is something to do, for so long at the most; and once, for what else has come. */
static void
drive_play(int wait_ms)
{
	uint64		end_us = loop_now_us() + (uint64) wait_ms * 1000;

	do
		drive_turn(drive_rests() ? 0 : end_us);
	while (!drive_rests() && loop_now_us() < end_us);
	if (drive_rests())
		alarm_unset(&drive->clock, &drive->tick);
}

/* ---------- The report ---------- */

static void
report_row(RowBuilder *row, const char *item, int64 key, int64 value, const char *message)
{
	row_text(row, item);
	row_bigint(row, key);
	row_bigint(row, value);
	row_text(row, message);
	row_end(row);
}

#define COPY_COUNTER(name) report.name = stats->name;

static void
report_numbers(RowBuilder *row)
{
	const PoolStats *stats = &drive->pool->stats;
	DriveReport report = {
		.asked = drive->pool->asked,
		.wanted = stats->wanted,
		.held = stats->held,
		.open = drive->pool->nopen,
		.opening = stats->opening,
		.idle = drive->pool->nidle,
		.absent_us = drive->absent_us,
		.slowest_refusal_us = stats->slowest_refusal_us,
		.began_us = drive->began_us,
		.clock_us = loop_now_us(),
	};

	DRIVE_COUNTERS(COPY_COUNTER);
	for (int i = 0; i < ndrive_numbers; i++)
		report_row(row, drive_numbers[i].name, 0, (int64) *drive_number(&report, &drive_numbers[i]), NULL);
}

static void
report_failures(RowBuilder *row)
{
	const Pool *pool = drive->pool;
	DriveReport *report = palloc0(sizeof(DriveReport));

	report->last_failure = pool->last_failure;
	report->last_refusal = pool->last_refusal;
	report->last_loss = pool->last_loss;
	for (int i = 0; i < ndrive_failures; i++)
	{
		const ConnectResult *failure = drive_failure(report, &drive_failures[i]);

		report_row(row, drive_failures[i].name, failure->end, failure->cause,
				   text_printable(psprintf("%s %s", failure->sqlstate, failure->message)));
	}
	pfree(report);
}

static void
report_waits(RowBuilder *row)
{
	int64	   *pairs = palloc(sizeof(int64) * 2 * HISTOGRAM_BUCKETS);
	int			n = histogram_pairs(&drive->waits, pairs);

	for (int i = 0; i < n; i++)
		report_row(row, DRIVE_WAITS, pairs[2 * i], pairs[2 * i + 1], NULL);
	memset(&drive->waits, 0, sizeof(Histogram));
	pfree(pairs);
}

static void
put_row(void *arg, const char *item, int64 key, int64 value, const char *message)
{
	report_row(arg, item, key, value, message);
}

/* What there is to say of the load; when it is over, for the last time. */
static void
report_load(RowBuilder *row, int number)
{
	bool		over = load_is_over(drive->loads[number]);

	drive_load_write(drive->loads[number], number, put_row, row);
	if (over)
		drive->loads[number] = NULL;
}

static void
report_write(RowBuilder *row)
{
	drive_says(REST_MS);
	report_numbers(row);
	report_failures(row);
	for (int i = 0; i < CAUSES; i++)
		if (drive->pool->stats.refused_by[i] > 0)
			report_row(row, DRIVE_REFUSED_BY, i, (int64) drive->pool->stats.refused_by[i], cause_kinds[i].name);
	report_waits(row);
	for (int i = 0; i < DRIVE_LOADS_MAX; i++)
		if (drive->loads[i] != NULL)
			report_load(row, i);
	if (drive->crowd != NULL)
		drive_crowd_write(drive->crowd, put_row, row);
}

/* ---------- The calls ---------- */

static void
require_drive(void)
{
	if (drive != NULL)
		return;
	preflight_server("cannot drive", NOT_HERE);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("this session does not drive"),
			 errhint("pool_exhaust_drive_open() comes first; all of these are for the coordinator of a run: see option \"drivers\".")));
}

/* In a call that ends the drive by this ERROR. */
static void
require_time(void)
{
	if (loop_now_us() >= drive->deadline_us)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the drive is not over within pool_exhaust.max_run_time of this server")));
}

/* Obeys one order, from the arguments of the call. */
typedef void (*DriveOrder) (FunctionCallInfo fcinfo);

/*
 * Obeys an order, plays until all is over, or for wait_ms, the argument after "at", which
 * is the moment of the order; and says what has become of all orders so far.  Any ERROR
 * ends the drive.
 */
static Datum
drive_call(FunctionCallInfo fcinfo, DriveOrder order, int at)
{
	RowBuilder	row = rows_begin(fcinfo);

	require_drive();
	drive_says(STILL_MS);
	PG_TRY();
	{
		require_time();
		require_between("at_us", PG_GETARG_INT64(at), 0, (int64) loop_now_us() + AHEAD_US);
		require_between("wait_ms", PG_GETARG_INT32(at + 1), 0, CALL_MAX_MS);
		order(fcinfo);
		drive_play(PG_GETARG_INT32(at + 1));
	}
	PG_CATCH();
	{
		drive_end();
		PG_RE_THROW();
	}
	PG_END_TRY();
	report_write(&row);
	return (Datum) 0;
}

/* In that order, and the last at a moment, if that is not 0. */
static void
order_connections(FunctionCallInfo fcinfo)
{
	require_between("acquire", PG_GETARG_INT32(0), 0, FOREIGN_CLIENTS_MAX);
	require_between("release", PG_GETARG_INT32(1), 0, FOREIGN_CLIENTS_MAX);
	if (PG_GETARG_BOOL(2))
		pool_cancel(drive->pool);
	pool_release_many(drive->pool, PG_GETARG_INT32(1));
	drive_await((uint64) PG_GETARG_INT64(3));
	pool_acquire_many(drive->pool, PG_GETARG_INT32(0));
}

/*
 * SQL: carries out an order: cancels what waits, releases, and acquires connections, the
 * latter at a moment by the clock of this function, if that is not 0.  Returns when they
 * have come to their ends, or after wait_ms, with what has become of all orders so far.
 */
Datum
pool_exhaust_drive(PG_FUNCTION_ARGS)
{
	return drive_call(fcinfo, order_connections, 3);
}

/* Returns the SQL in the memory of the drive, NULL if it is empty; ERROR if no workload may be that. */
static const char *
sql_kept(const char *sql)
{
	if (sql[0] == '\0')
		return NULL;
	workload_require(sql);
	return MemoryContextStrdup(drive->context, sql);
}

/* Reads what the load is like, which is of this version's making; ERROR if it is not. */
static void
read_figures(ArrayType *array, LoadConfig *config, Arrival *arrival)
{
	const double *figures = (const double *) ARR_DATA_PTR(array);

	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != LOAD_FIGURES_N || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != FLOAT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the figures of a load are %d numbers", LOAD_FIGURES_N),
				 errhint("This function is for the coordinator of a run: see option \"drivers\".")));
	for (int i = 0; i < LOAD_FIGURES_N; i++)
		if (!(figures[i] >= 0 && figures[i] <= load_figures[i].max))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("figure \"%s\" of a load is %g, outside the bounds 0 to %g", load_figures[i].name, figures[i], load_figures[i].max),
					 errhint("This function is for the coordinator of a run: see option \"drivers\".")));
	drive_load_read_figures(figures, config, arrival);
	require_between("clients", config->clients, 0, FOREIGN_CLIENTS_MAX);
	require_between("kind", arrival->kind, 0, arrivals_words.n - 1);
	require_between("duration_us", (int64) arrival->duration_us, 0, DAY_MS * INT64CONST(1000));
	if (arrival->rate > 0)
		config->arrival = arrival;
	if (arrival->kind == ARRIVAL_BURST)
		require_between("burst_us", (int64) arrival->burst_us, 1, (int64) arrival->burst_every_us - 1);
}

/* Its grants are reported in order, as long as those of the drive are not too many. */
static void
load_order(LoadConfig *config)
{
	require_between("grants in order", drive->order.deferred_max + (int64) config->clients * config->operations, 0, ORDERED_MAX);
	order_reserve(&drive->order, config->clients * config->operations);
	config->order = &drive->order;
}

static void
order_load(FunctionCallInfo fcinfo)
{
	int			number = PG_GETARG_INT32(0);
	LoadConfig	config = {.pool = drive->pool, .clock = &drive->clock};
	Arrival		arrival = {0};
	MemoryContext caller;

	require_between("number", number, 0, DRIVE_LOADS_MAX - 1);
	if (drive->loads[number] != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("load %d is under way already", number),
				 errhint("This function is for the coordinator of a run: see option \"drivers\".")));
	read_figures(PG_GETARG_ARRAYTYPE_P(3), &config, &arrival);
	config.sql = sql_kept(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	config.failing_sql = sql_kept(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	caller = MemoryContextSwitchTo(drive->context);
	if (PG_GETARG_BOOL(4))
		load_order(&config);
	drive_await((uint64) PG_GETARG_INT64(5));
	drive->loads[number] = load_create(&config);
	load_begin(drive->loads[number]);
	begin_ticks();
	MemoryContextSwitchTo(caller);
}

/*
 * SQL: lets the clients of a load of that number come, at a moment by the clock of
 * pool_exhaust_drive(), and says the same as that, after wait_ms or when all is over.
 */
Datum
pool_exhaust_drive_load(PG_FUNCTION_ARGS)
{
	return drive_call(fcinfo, order_load, 5);
}

/* SQL: lets no more clients of the load of that number begin, and says the same. */
Datum
pool_exhaust_drive_stop(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);
	int			number = PG_GETARG_INT32(0);

	require_drive();
	require_between("number", number, 0, DRIVE_LOADS_MAX - 1);
	if (drive->loads[number] != NULL)
		load_stop(drive->loads[number]);
	report_write(&row);
	return (Datum) 0;
}

/* Makes the crowd, or begins a wave of the one that there is. */
static void
crowd_wave(int n, int64 seed, uint64 at_us)
{
	const CrowdConfig config = {drive->pool, &drive->clock, n, seed};
	MemoryContext caller = MemoryContextSwitchTo(drive->context);
	bool		first = drive->crowd == NULL;

	if (first)
		drive->crowd = crowd_create(&config);
	require_between("n", n, drive->crowd->config.n, drive->crowd->config.n);
	drive->crowd->fit = PG_INT32_MAX;	/* it is for the coordinator to say when all are connected */
	drive_await(at_us);
	crowd_begin(drive->crowd);
	crowd_connect(drive->crowd, !first);
	begin_ticks();
	MemoryContextSwitchTo(caller);
}

static void
order_crowd(FunctionCallInfo fcinfo)
{
	const char *action = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			n = PG_GETARG_INT32(1);

	require_between("n", n, 0, FOREIGN_CLIENTS_MAX);
	if (strcmp(action, "connect") == 0)
		crowd_wave(n, PG_GETARG_INT64(2), (uint64) PG_GETARG_INT64(3));
	else if (drive->crowd == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no crowd that could \"%s\"", text_printable(action)),
				 errhint("A crowd has to \"connect\" first. This function is for the coordinator of a run: see option \"drivers\".")));
	else if (strcmp(action, "enough") == 0)
		crowd_enough(drive->crowd);
	else if (strcmp(action, "stop") == 0)
		crowd_stop(drive->crowd);
	else if (strcmp(action, "disconnect") == 0)
		crowd_disconnect(drive->crowd, n);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a crowd cannot \"%s\"", text_printable(action)),
				 errhint("It can \"connect\", have \"enough\", \"stop\" and \"disconnect\". This function is for the coordinator of a run: see option \"drivers\".")));
}

/*
 * SQL: has the clients of a crowd "connect", n of them, at a moment by the clock of
 * pool_exhaust_drive(), those that are connected being cut off first; or no client
 * retries ("enough"), no attempt begins ("stop"), or n of them "disconnect".  Says the same as
 * pool_exhaust_drive(), after wait_ms or when all is over.
 */
Datum
pool_exhaust_drive_crowd(PG_FUNCTION_ARGS)
{
	return drive_call(fcinfo, order_crowd, 3);
}

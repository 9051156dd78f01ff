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
 * has USAGE and a user mapping on: no address and no password comes from elsewhere.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "api/rows.h"
#include "base/compat.h"
#include "base/text.h"
#include "event/descriptors.h"
#include "load/driver.h"
#include "load/failure.h"
#include "load/pool/pool.h"
#include "load/resolve.h"
#include "load/target/local_endpoint.h"
#include "request/preflight.h"
#include "shmem/request.h"
#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"

PG_FUNCTION_INFO_V1(pool_exhaust_drive_open);
PG_FUNCTION_INFO_V1(pool_exhaust_drive);

#define LOGIN_WAIT_MS	(5 * 1000)
#define AHEAD_US		(5 * INT64CONST(1000000))	/* an order may be for a moment no later than that */
#define CALL_MAX_MS		1000
#define HANDSHAKES_MAX	240
#define TURN_MS			20

#define NOT_HERE "Its load would compete with the recovery, and no run of its own is possible there either."

/* The client's socket is looked at that often. */
#define LOOK_US			(100 * 1000)

typedef struct Drive
{
	MemoryContext context;
	Loop		loop;
	const char *name;			/* of the target here, to be shown */
	Endpoint   *endpoint;
	Resolve		resolve;
	Pool	   *pool;
	Histogram	waits;			/* of the grants since the last report */
	uint64		deadline_us;
	uint64		look_us;		/* when the client's socket is looked at again */
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
		pool_close(ended->pool);
	loop_close(&ended->loop);
	MemoryContextDelete(ended->context);
}

/* before_shmem_exit: the target sees its clients leave. */
static void
drive_exit(int code, Datum arg)
{
	drive_end();
}

/* FATAL if the coordinator has gone: nothing tells a backend that is at work. */
static void
require_coordinator(void)
{
	uint64		now_us = loop_now_us();

	if (now_us < drive->look_us)
		return;
	drive->look_us = now_us + LOOK_US;
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

static void
drive_open_pool(int connections, int handshakes, int timeout_ms)
{
	ServerPoolConfig config = {
		.driver = &pool_postgres,
		.loop = &drive->loop,
		.login = &drive->endpoint->login,
		.handshakes = handshakes,
		.timeout_ms = timeout_ms,
		.sessions_max = connections,
	};

	if (descriptors_raise(connections) < connections)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("a share of %d connections needs as many open files, and the server was started with too low a limit for that", connections),
				 errhint("Raise the limit that the driver's server is started with (ulimit -Hn, LimitNOFILE=), or name more drivers.")));
	drive->pool = pool_open_server(&config);
	drive->pool->latency = &drive->waits;
}

/*
 * SQL: prepares this session to drive sessions of that name to a target of this database:
 * so many at the most, and logins at once.  Returns the kind of the target, and as whom it
 * logs in there.
 */
Datum
pool_exhaust_drive_open(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			connections = PG_GETARG_INT32(2);
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
	time_ms = preflight_drive(connections);
	request = target_require_here(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_TRY();
	{
		drive_make(&request);
		drive->deadline_us = loop_now_us() + time_ms * 1000;
		login_add(&drive->endpoint->login, "application_name", pstrdup(name));
		target_log_in();
		drive_open_pool(connections, PG_GETARG_INT32(3), PG_GETARG_INT32(4));
	}
	PG_CATCH();
	{
		drive_end();
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	SetConfigOption("idle_session_timeout", psprintf("%d", COORDINATOR_SILENCE_MS), PGC_USERSET, PGC_S_SESSION);
	user = login_value(&drive->endpoint->login, "user");
	row_text(&row, target_types[request.target]->name);
	row_text(&row, user != NULL ? user : "");
	row_end(&row);
	return (Datum) 0;
}

/* ---------- Orders ---------- */

static bool
acquires_are_over(void)
{
	return drive->pool->stats.wanted == 0;
}

/* Turns the loop until that moment, and no longer. */
static void
drive_await(uint64 at_us)
{
	while (loop_now_us() < at_us)
		drive_turn(at_us);
	drive->began_us = loop_now_us();
}

static void
drive_order(int acquire, int release, bool cancel, uint64 at_us)
{
	if (cancel)
		pool_cancel(drive->pool);
	pool_release_many(drive->pool, release);
	if (at_us > 0)
		drive_await(at_us);
	pool_acquire_many(drive->pool, acquire);
}

/* Turns the loop as long as connections are wanted, for so long at the most; and once, for what else has come. */
static void
drive_play(int wait_ms)
{
	uint64		end_us = loop_now_us() + (uint64) wait_ms * 1000;

	do
		drive_turn(acquires_are_over() ? 0 : end_us);
	while (!acquires_are_over() && loop_now_us() < end_us);
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
report_write(RowBuilder *row)
{
	report_numbers(row);
	report_failures(row);
	for (int i = 0; i < CAUSES; i++)
		if (drive->pool->stats.refused_by[i] > 0)
			report_row(row, DRIVE_REFUSED_BY, i, (int64) drive->pool->stats.refused_by[i], cause_kinds[i].name);
	report_waits(row);
}

/*
 * SQL: carries out an order: cancels what waits, releases, and acquires connections, the
 * latter at a moment by the clock of this function, if that is not 0.  Returns when they
 * have come to their ends, or after wait_ms, with what has become of all orders so far.
 */
Datum
pool_exhaust_drive(PG_FUNCTION_ARGS)
{
	RowBuilder	row = rows_begin(fcinfo);
	uint64		now_us = loop_now_us();

	if (drive == NULL)
	{
		preflight_server("cannot drive", NOT_HERE);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session does not drive"),
				 errhint("pool_exhaust_drive_open() comes first; both are for the coordinator of a run: see option \"drivers\".")));
	}
	require_between("acquire", PG_GETARG_INT32(0), 0, FOREIGN_CLIENTS_MAX);
	require_between("release", PG_GETARG_INT32(1), 0, FOREIGN_CLIENTS_MAX);
	require_between("at_us", PG_GETARG_INT64(3), 0, (int64) now_us + AHEAD_US);
	require_between("wait_ms", PG_GETARG_INT32(4), 0, CALL_MAX_MS);
	PG_TRY();
	{
		if (now_us >= drive->deadline_us)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the drive is not over within pool_exhaust.max_run_time of this server")));
		drive_order(PG_GETARG_INT32(0), PG_GETARG_INT32(1), PG_GETARG_BOOL(2), (uint64) PG_GETARG_INT64(3));
		drive_play(PG_GETARG_INT32(4));
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

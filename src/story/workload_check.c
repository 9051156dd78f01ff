/*
 * workload_check.c
 *		Can the caller's SQL be a workload?  It is run once, on a session of the
 *		run's role that is closed before anything else is opened.
 *
 * workload.c has refused what can be seen from the text.  What functions do to
 * their session, and whether the SQL works at all, shows only here.
 */
#include "postgres.h"

#include "observe/slots/census.h"
#include "story/story.h"

#define CHECK_TIMEOUT_MS	(15 * 1000)

/* All that a session keeps of what ran in it before; one line of text. */
static const char state_sql[] =
"SELECT pg_catalog.concat_ws(', ',"
" (SELECT 'settings ' || pg_catalog.string_agg(name || '=' || setting, ' ' ORDER BY name)"
"  FROM pg_catalog.pg_settings WHERE source = 'session'),"
" (SELECT 'role ' || CURRENT_USER || ' of ' || SESSION_USER WHERE CURRENT_USER <> SESSION_USER),"
" (SELECT 'prepared statements ' || pg_catalog.string_agg(name, ' ' ORDER BY name)"
"  FROM pg_catalog.pg_prepared_statements),"
" (SELECT 'cursors ' || pg_catalog.string_agg(name, ' ' ORDER BY name)"
"  FROM pg_catalog.pg_cursors WHERE is_holdable),"
" (SELECT 'channels ' || pg_catalog.string_agg(c, ' ' ORDER BY c)"
"  FROM pg_catalog.pg_listening_channels() AS c),"
" (SELECT 'advisory locks ' || pg_catalog.count(*) FROM pg_catalog.pg_locks"
"  WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'advisory' HAVING pg_catalog.count(*) > 0),"
" (SELECT 'temporary objects ' || pg_catalog.string_agg(name, ' ' ORDER BY name) FROM"
"  (SELECT relname AS name FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()"
"   UNION ALL SELECT proname FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()"
"   UNION ALL SELECT typname FROM pg_catalog.pg_type"
"    WHERE typnamespace = pg_catalog.pg_my_temp_schema() AND typrelid = 0 AND typelem = 0) AS t))";

#define FAILURE_LEN 512

typedef struct WorkloadCheck
{
	Session		session;		/* must be first */
	bool		answered;
	bool		ok;
	char		sqlstate[6];
	char		text[FAILURE_LEN];	/* of the answer, or of the error */
} WorkloadCheck;

static void
workload_check_connected(Session *session, const ConnectResult *result)
{
	WorkloadCheck *check = (WorkloadCheck *) session;

	if (result->end != CONNECT_GRANTED)
		strlcpy(check->text, result->message, FAILURE_LEN);
}

static const SessionEvents workload_check_events = {
	.connected = workload_check_connected,
	.lost = session_close,
};

static void
workload_check_answered(void *arg, const QueryResult *result)
{
	WorkloadCheck *check = arg;

	check->answered = true;
	check->ok = result->ok;
	strlcpy(check->sqlstate, result->sqlstate, sizeof(check->sqlstate));
	strlcpy(check->text, result->ok ? (result->value != NULL ? result->value : "") : result->message,
			FAILURE_LEN);
}

/* Closes the session, and ends the run as invalid if there is a reason to. */
static void
workload_check_end(Run *run, WorkloadCheck *check, const char *reason)
{
	session_close(&check->session);
	wait_until(run, check->session.state == SESSION_UNUSED, login_ms(run));
	if (run->target->own_roles)
		poll_until(run, census_role_sessions(run->parties[0].role, NULL, 0) == 0, login_ms(run));
	if (reason != NULL)
		run_end(run, VERDICT_INVALID, "%s", reason);
}

/* Runs one query; its result is in check->text. */
static void
workload_check_query(Run *run, WorkloadCheck *check, const char *sql)
{
	int			timeout_ms = run_patience(run, CHECK_TIMEOUT_MS);
	uint64		begun_us = loop_now_us();

	check->answered = false;
	session_query(&check->session, sql, timeout_ms, workload_check_answered, check);
	wait_until(run, check->answered || check->session.state != SESSION_OPEN, timeout_ms + 1000);
	if (!check->answered)
		workload_check_end(run, check, loop_now_us() - begun_us < timeout_ms * INT64CONST(1000)
						   ? "the workload ended its session: an operation must leave it open"
						   : psprintf("the workload did not come to an end within %d s: shorten it", timeout_ms / 1000));
	if (!check->ok)
		workload_check_end(run, check, psprintf("the workload failed: %s %s", check->sqlstate, check->text));
}

/*
 * Ends the run as invalid if the workload does not work, or if a session is not
 * the same afterwards.
 */
void
workload_try(Run *run)
{
	static const char changes[] = "the workload changes the state of its session";
	WorkloadCheck *check = palloc0(sizeof(WorkloadCheck));
	char	   *before;

	if (run->options.workload[0] == '\0')
		return;
	phase(run, "trial");
	run_open_session(run, &run->parties[0], &check->session, &workload_check_events, NULL);
	wait_until(run, check->session.state != SESSION_CONNECTING, login_ms(run));
	if (check->session.state != SESSION_OPEN)
		workload_check_end(run, check, psprintf("no connection to try the workload: %s", check->text));
	if (!run->target->one_backend)
	{
		/* A pooler may give each query another session, so there is nothing to compare. */
		workload_check_query(run, check, run->options.workload);
		workload_check_end(run, check, NULL);
		return;
	}
	workload_check_query(run, check, state_sql);
	before = pstrdup(check->text);
	workload_check_query(run, check, run->options.workload);
	if (PQtransactionStatus(check->session.conn) != PQTRANS_IDLE)
		workload_check_end(run, check, psprintf("%s: it leaves a transaction open", changes));
	workload_check_query(run, check, state_sql);
	if (strcmp(before, check->text) != 0)
		workload_check_end(run, check, psprintf("%s: %s", changes, check->text));
	workload_check_end(run, check, NULL);
}

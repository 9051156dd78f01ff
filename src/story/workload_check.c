/*
 * workload_check.c
 *		Is the caller's SQL fit to be a workload?  Tried once, on a session of
 *		the run's role that is closed again before anything else is opened.
 *
 * workload.c has refused what can be seen from the text.  What functions do to
 * their session, and whether the SQL works at all, shows only here.
 */
#include "postgres.h"

#include "observe/slots/census.h"
#include "story/story.h"

#define TRIAL_TIMEOUT_MS	(15 * 1000)

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

typedef struct Trial
{
	Session		session;		/* must be first */
	bool		connected;
	bool		lost;
	bool		answered;
	bool		ok;
	char		sqlstate[6];
	char		text[FAILURE_LEN];	/* of the answer, or of the error */
} Trial;

static void
trial_connected(Session *session, const ConnectResult *result)
{
	Trial	   *trial = (Trial *) session;

	trial->connected = result->end == CONNECT_GRANTED;
	trial->lost = !trial->connected;
	if (trial->lost)
		strlcpy(trial->text, result->message, FAILURE_LEN);
}

static void
trial_lost(Session *session)
{
	((Trial *) session)->lost = true;
	session_close(session);
}

static void
trial_unused(Session *session)
{
}

static const SessionEvents trial_events = {
	.connected = trial_connected,
	.lost = trial_lost,
	.unused = trial_unused,
};

static void
trial_answered(void *arg, const QueryResult *result)
{
	Trial	   *trial = arg;

	trial->answered = true;
	trial->ok = result->ok;
	strlcpy(trial->sqlstate, result->sqlstate, sizeof(trial->sqlstate));
	strlcpy(trial->text, result->ok ? (result->value != NULL ? result->value : "") : result->message,
			FAILURE_LEN);
}

/* Closes the session, and ends the run as invalid if there is a reason to. */
static void
trial_end(Run *run, Trial *trial, const char *reason)
{
	session_close(&trial->session);
	wait_until(run, trial->session.state == SESSION_UNUSED, LOGIN_TIMEOUT_MS);
	if (run_is_local(run))
		poll_until(run, census_role_sessions(run->services[0].role, NULL, 0) == 0, LOGIN_TIMEOUT_MS);
	if (reason != NULL)
		run_end(run, VERDICT_INVALID, "%s", reason);
}

/* Runs one query; what it answers is in trial->text. */
static void
trial_query(Run *run, Trial *trial, const char *sql)
{
	trial->answered = false;
	session_query(&trial->session, sql, TRIAL_TIMEOUT_MS, trial_answered, trial);
	wait_until(run, trial->answered || trial->lost, TRIAL_TIMEOUT_MS + 1000);
	if (!trial->answered)
		trial_end(run, trial, psprintf("the workload ended its session, or did not come to an end within %d s",
									   TRIAL_TIMEOUT_MS / 1000));
	if (!trial->ok)
		trial_end(run, trial, psprintf("the workload failed: %s %s", trial->sqlstate, trial->text));
}

/*
 * Ends the run as invalid if the workload does not work, or if a session is not
 * the same afterwards.
 */
void
workload_try(Run *run)
{
	static const char changes[] = "the workload changes the state of its session";
	Trial	   *trial = palloc0(sizeof(Trial));
	char	   *before;

	if (run->plan.options.workload[0] == '\0')
		return;
	phase(run, "trial");
	run_open_session(run, &run->services[0], &trial->session, &trial_events, NULL);
	wait_until(run, trial->connected || trial->lost, LOGIN_TIMEOUT_MS);
	if (!trial->connected)
		trial_end(run, trial, psprintf("no connection to try the workload: %s", trial->text));
	if (!run_is_local(run))
	{
		/* A pooler may give each query another session, so there is nothing to compare. */
		trial_query(run, trial, run->plan.options.workload);
		trial_end(run, trial, NULL);
		return;
	}
	trial_query(run, trial, state_sql);
	before = pstrdup(trial->text);
	trial_query(run, trial, run->plan.options.workload);
	if (PQtransactionStatus(trial->session.conn) != PQTRANS_IDLE)
		trial_end(run, trial, psprintf("%s: it leaves a transaction open", changes));
	trial_query(run, trial, state_sql);
	if (strcmp(before, trial->text) != 0)
		trial_end(run, trial, psprintf("%s: %s", changes, trial->text));
	trial_end(run, trial, NULL);
}

/*
 * probe.c
 *		What a foreign server says of itself.
 *
 * PgBouncer reports on its console how many clients it has, may have, and lets
 * wait; PostgreSQL by SQL.  One session asks all questions in a round, and what
 * was heard stands until the next round is over.  A caller that must know what is true
 * by now waits for a round that began after now.
 *
 * How long an answer takes is a measure of the server: a pooler is one process,
 * which answers as late as it does everything else.
 */
#include "postgres.h"

#include "load/target/probe.h"

#define RETURN_PAUSE_US		(100 * 1000)

#define FIGURE_MAX			(10 * 1000 * 1000)

/* The console shows each client: not to be asked all the time where there are many. */
#define ROUND_PAUSE_US		(5 * 1000)

/* ---------- Questions ---------- */

/* Returns the value of that column; "" if there is no such column, or it is NULL. */
const char *
answer_value(const PGresult *rows, int row, const char *column)
{
	int			field = PQfnumber(rows, column);

	return field >= 0 ? PQgetvalue(rows, row, field) : "";
}

/* A server that reports more than that, or less than -1, is not believed. */
static int
number_of(const char *value)
{
	return (int) Min(Max(strtol(value, NULL, 10), -1), FIGURE_MAX);
}

/* A limit, where -1 may be none. */
static int
row_limit(const PGresult *rows, int row, const char *column)
{
	return number_of(answer_value(rows, row, column));
}

/* A count. */
static int
row_number(const PGresult *rows, int row, const char *column)
{
	return Max(row_limit(rows, row, column), 0);
}

/*
 * Of the limits that PostgreSQL has the nearest one counts.  A negative limit is
 * none.
 */
static void
postgres_read(Probe *probe, const PGresult *rows)
{
	static const struct
	{
		const char *limit;
		const char *in_use;
		Cause		cause;
	}			limits[] = {
		{"slots", "slots_used", CAUSE_RESERVED_SLOTS},
		{"role_limit", "role_used", CAUSE_ROLE_LIMIT},
		{"database_limit", "database_used", CAUSE_DATABASE_LIMIT},
	};
	Figures    *coming = &probe->coming;

	if (PQntuples(rows) != 1)
		return;
	for (int i = 0; i < lengthof(limits); i++)
	{
		int			limit = row_limit(rows, 0, limits[i].limit);
		int			in_use = row_number(rows, 0, limits[i].in_use);

		if (limit < 0 || (i > 0 && limit - in_use >= coming->capacity - coming->in_use))
			continue;
		coming->capacity = limit;
		coming->in_use = in_use;
		coming->full_cause = limits[i].cause;
	}
	coming->ours = row_number(rows, 0, "ours");
	coming->beside = row_number(rows, 0, "beside");
	coming->probes = row_number(rows, 0, "probes");
	strlcpy(coming->born, answer_value(rows, 0, "born"), BORN_LEN);
	coming->superuser = answer_value(rows, 0, "superuser")[0] == 't';
	coming->blind = answer_value(rows, 0, "sees")[0] != 't' && coming->full_cause != CAUSE_ROLE_LIMIT;
}

const Question postgres_questions[] = {
	{
		"WITH s AS (SELECT usename, datname, application_name FROM pg_catalog.pg_stat_activity"
		" WHERE backend_type = 'client backend')"
		" SELECT pg_catalog.current_setting('max_connections')::int"
		" - pg_catalog.current_setting('superuser_reserved_connections')::int"
		" - coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0) AS slots,"
		" (SELECT count(*) FROM s) AS slots_used,"
		" rolconnlimit AS role_limit, (SELECT count(*) FROM s WHERE usename = rolname) AS role_used,"
		" datconnlimit AS database_limit, (SELECT count(*) FROM s WHERE s.datname = d.datname) AS database_used,"
		" (SELECT count(*) FROM s WHERE usename = rolname"
		"  AND application_name || '" PROBE_SUFFIX "' = pg_catalog.current_setting('application_name')) AS ours,"
		" (SELECT count(*) FROM s WHERE usename = rolname AND application_name ="
		"  replace(pg_catalog.current_setting('application_name'), '" PROBE_SUFFIX "', '" BESIDE_SUFFIX "')) AS beside,"
		" (SELECT count(*) FROM s WHERE application_name = pg_catalog.current_setting('application_name')) AS probes,"
		" extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS born,"
		" rolsuper AS superuser, pg_catalog.pg_has_role(rolname, 'pg_read_all_stats', 'USAGE') AS sees"
		" FROM pg_catalog.pg_roles, pg_catalog.pg_database d"
		" WHERE rolname = session_user AND d.datname = pg_catalog.current_database()",
		.name = "",
		.read = postgres_read
	},
	{NULL}
};

/* How many it has ended does not matter: the proof counts those that are left. */
static void
recall_read(Probe *probe, const PGresult *rows)
{
}

const Question postgres_recall[] = {
	{
		"SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
		" WHERE usename = session_user AND application_name || '" PROBE_SUFFIX "' = pg_catalog.current_setting('application_name')",
		.name = "",
		.read = recall_read
	},
	{NULL}
};

static void
config_read(Probe *probe, const PGresult *rows)
{
	Figures    *coming = &probe->coming;

	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *key = answer_value(rows, i, "key");
		const char *value = answer_value(rows, i, "value");

		if (strcmp(key, "max_client_conn") == 0)
			coming->capacity = number_of(value);
		else if (strcmp(key, "default_pool_size") == 0)
			coming->pool_size = number_of(value);
		else if (strcmp(key, "reserve_pool_size") == 0)
			coming->reserve = Max(number_of(value), 0);
		else if (strcmp(key, "max_user_connections") == 0)
			probe->user_most = number_of(value);
		else if (strcmp(key, "query_wait_timeout") == 0)
			coming->wait_timeout_ms = (int64) (Min(Max(strtod(value, NULL), 0), FIGURE_MAX) * 1000);
		else if (strcmp(key, "pool_mode") == 0)
			strlcpy(coming->mode, value, POOL_MODE_LEN);
	}
	coming->full_cause = CAUSE_POOLER_CLIENTS;
}

/* No more than that are to be had; 0 is no limit. */
static void
pool_cut(Figures *figures, int most)
{
	if (most <= 0 || most >= figures->pool_size + figures->reserve)
		return;
	figures->pool_size = Min(figures->pool_size, most);
	figures->reserve = most - figures->pool_size;
}

/* What the database has of its own goes before the defaults. */
static void
databases_read(Probe *probe, const PGresult *rows)
{
	Figures    *coming = &probe->coming;

	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *reserve = PQfnumber(rows, "reserve_pool_size") >= 0 ? "reserve_pool_size" : "reserve_pool";

		if (strcmp(answer_value(rows, i, "name"), probe->database) != 0)
			continue;
		if (row_number(rows, i, "pool_size") > 0)
			coming->pool_size = row_number(rows, i, "pool_size");
		coming->reserve = row_number(rows, i, reserve);
		pool_cut(coming, row_number(rows, i, "max_connections"));
		if (answer_value(rows, i, "pool_mode")[0] != '\0')
			strlcpy(coming->mode, answer_value(rows, i, "pool_mode"), POOL_MODE_LEN);
	}
	pool_cut(coming, probe->user_most);
}

static void
pools_read(Probe *probe, const PGresult *rows)
{
	Figures    *coming = &probe->coming;

	coming->active = coming->idle = coming->waiting = 0;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		if (strcmp(answer_value(rows, i, "database"), probe->database) != 0 ||
			strcmp(answer_value(rows, i, "user"), probe->user) != 0)
			continue;
		coming->active = row_number(rows, i, "sv_active");
		coming->idle = row_number(rows, i, "sv_idle") + row_number(rows, i, "sv_used");
		coming->waiting = row_number(rows, i, "cl_waiting");
		if (answer_value(rows, i, "pool_mode")[0] != '\0')
			strlcpy(coming->mode, answer_value(rows, i, "pool_mode"), POOL_MODE_LEN);
	}
}

/* Is it that of the run's sessions, with this behind it? */
static bool
is_named(const Probe *probe, const char *name, const char *suffix)
{
	size_t		len = strlen(probe->application_name);

	return strncmp(name, probe->application_name, len) == 0 && strcmp(name + len, suffix) == 0;
}

/* Also those that are on the console count as clients, this one too. */
static void
clients_read(Probe *probe, const PGresult *rows)
{
	Figures    *coming = &probe->coming;

	coming->in_use = PQntuples(rows);
	coming->ours = coming->beside = coming->probes = 0;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *name = answer_value(rows, i, "application_name");

		coming->ours += is_named(probe, name, "") &&
			strcmp(answer_value(rows, i, "database"), probe->database) == 0;
		coming->beside += is_named(probe, name, BESIDE_SUFFIX);
		coming->probes += is_named(probe, name, PROBE_SUFFIX);
	}
}

const Question pgbouncer_questions[] = {
	{"SHOW CONFIG", "SHOW CONFIG: ", true, config_read},
	{"SHOW DATABASES", "SHOW DATABASES: ", true, databases_read},
	{"SHOW POOLS", "SHOW POOLS: ", false, pools_read},
	{"SHOW CLIENTS", "SHOW CLIENTS: ", false, clients_read},
	{NULL}
};

/* ---------- Rounds ---------- */

static void probe_ask(Probe *probe);

static void
probe_fail(Probe *probe, const ConnectResult *failure)
{
	probe->state = PROBE_LOST;
	probe->lost_us = loop_now_us();
	probe->asked_us = 0;
	probe->failure = *failure;
}

/* Is that error what a server says that does not know the question, and goes on? */
static bool
question_is_unknown(const Probe *probe, const Question *question, const QueryResult *result)
{
	const char *severity = PQresultErrorField(result->rows, PG_DIAG_SEVERITY);

	return question->is_unknown != NULL && PQstatus(probe->session.conn) == CONNECTION_OK &&
		severity != NULL && strcmp(severity, "ERROR") == 0 && question->is_unknown(result);
}

static void
probe_answered(void *arg, const QueryResult *result)
{
	Probe	   *probe = arg;
	const Question *question = &probe->questions[probe->next];

	probe->slowest_us = probe_slowest_us(probe);
	probe->asked_us = 0;
	if (!result->ok && !question_is_unknown(probe, question, result))
	{
		ConnectResult failure = {CONNECT_DENIED, CAUSE_NONE};

		strlcpy(failure.sqlstate, result->sqlstate, sizeof(failure.sqlstate));
		snprintf(failure.message, MESSAGE_LEN, "%s%s", question->name, result->message);
		probe_fail(probe, &failure);
		session_close(&probe->session);
		return;
	}
	probe->next++;
	question->read(probe, result->ok ? result->rows : NULL);
	if (probe->questions[probe->next].sql != NULL)
	{
		probe_ask(probe);
		return;
	}
	probe->figures = probe->coming;
	probe->peak_active = Max(probe->peak_active, probe->figures.active);
	probe->heard_us = probe->began_us;
	probe->round_us = loop_now_us() - probe->began_us;
}

/*
 * Returns how long an answer may take, in milliseconds: thousands of sessions that end at
 * once leave a server no time for the one that asks.
 */
int
probe_wait_ms(const Probe *probe)
{
	return ANSWER_WAIT_MS + probe->figures.ours * ANSWER_EACH_MS;
}

/* Asks the next question of the round; those whose answers stand are skipped. */
static void
probe_ask(Probe *probe)
{
	while (probe->questions[probe->next].once && probe->heard_us != 0)
		probe->next++;
	probe->asked_us = loop_now_us();
	session_query(&probe->session, probe->questions[probe->next].sql, probe_wait_ms(probe),
				  probe_answered, probe);
}

/* Returns how long the slowest answer took so far, the one that it waits for included; in microseconds. */
uint64
probe_slowest_us(const Probe *probe)
{
	return Max(probe->slowest_us, probe->asked_us != 0 ? loop_now_us() - probe->asked_us : 0);
}

/*
 * Makes a probe ask, if none does; returns whether what is known was true at that
 * moment or later.  Never true while the probe is lost.
 */
bool
probe_refresh(Probe *probe, uint64 since_us)
{
	uint64		now_us = loop_now_us();

	if (probe->heard_us >= Max(since_us, 1))
		return true;
	if (probe->state == PROBE_LOST && probe->returns && probe->session.state == SESSION_UNUSED &&
		now_us >= probe->lost_us + RETURN_PAUSE_US)
		probe_open(probe, probe->loop, probe->login, probe->timeout_ms);
	if (probe->state == PROBE_READY && probe->session.done == NULL && now_us >= probe->began_us + ROUND_PAUSE_US)
	{
		probe->began_us = now_us;
		probe->next = 0;
		probe_ask(probe);
	}
	return false;
}

static void
probe_connected(Session *session, const ConnectResult *result)
{
	Probe	   *probe = (Probe *) session;

	if (result->end == CONNECT_GRANTED)
		probe->state = PROBE_READY;
	else
		probe_fail(probe, result);
}

static void
probe_lost(Session *session)
{
	ConnectResult failure;

	session_failure(session, &failure);
	probe_fail((Probe *) session, &failure);
	session_close(session);
}

static const SessionEvents probe_events = {
	.connected = probe_connected,
	.lost = probe_lost,
};

/*
 * Begins to log in, to ask the questions that the caller has set.  A probe that
 * was lost may be opened again when its session is unused.
 */
void
probe_open(Probe *probe, Loop *loop, const Login *login, int timeout_ms)
{
	probe->loop = loop;
	probe->login = login;
	probe->timeout_ms = timeout_ms;
	probe->state = PROBE_CONNECTING;
	probe->session.spared = probe->session.keeps_rows = true;
	session_open(&probe->session, loop, login, timeout_ms, &probe_events, probe);
}

/* Asks no more, for good. */
void
probe_close(Probe *probe)
{
	session_close(&probe->session);
	probe->state = PROBE_LOST;
	probe->returns = false;
}

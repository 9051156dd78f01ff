/*
 * aim.c
 *		How a run gets to its foreign server, what it finds there, and the proof
 *		that it has left nothing.
 *
 * Nothing is made on the other side: the run logs in as the user of the mapping,
 * and its sessions are known by an application_name of their own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"

#include "aim.h"
#include "foreign.h"
#include "load/endpoint.h"
#include "load/probe.h"
#include "load/way.h"
#include "option_type.h"
#include "options.h"
#include "runner.h"
#include "scenario/hold.h"

/* PgBouncer looks for clients that have waited too long three times a second. */
#define JANITOR_MS		334

/* A client that logs in for each operation leaves its connection unused meanwhile. */
#define LEVEL_TOLERANCE	40

#define LOGIN_WAIT_MS	(5 * 1000)
#define PROOF_WAIT_MS	(10 * 1000)
#define OTHERS_WAIT_MS	(2 * 1000)
#define TURN_MS			5

/* ---------- On the way there ---------- */

static const char *
login_value(const Login *login, const char *keyword)
{
	const char *value = NULL;

	for (int i = 0; i < login->params; i++)
		if (strcmp(login->keywords[i], keyword) == 0)
			value = login->values[i];
	return value;
}

/* Of n services, the first is the target, and the second has a server of its own. */
static void
aim_read(Run *run, RunService *service, int n)
{
	Endpoint   *endpoint = MemoryContextAllocZero(run->context, sizeof(Endpoint));
	Oid			server = run->plan.server;

	StartTransactionCommand();
	MemoryContextSwitchTo(run->context);
	if (n > 0)
		server = get_foreign_server_oid(run->plan.options.second, false);
	foreign_read(server, run->plan.user, run->plan.target, endpoint);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
	service->endpoint = endpoint;
	service->login = &endpoint->login;
}

static void
aim_name_sessions(Run *run, Endpoint *endpoint)
{
	char	   *name = psprintf("%s %x-" INT64_FORMAT, RUN_APPLICATION_NAME, MyProcPid,
								plan_is_hold(&run->plan) ? run->slot->hold_id : run->slot->run_id);

	login_add(&endpoint->login, "application_name", name);
	if (endpoint->console.params > 0)
		login_add(&endpoint->console, "application_name", psprintf("%s" PROBE_SUFFIX, name));
}

/*
 * Ends the run as invalid, because what it would find out is nothing about
 * capacity; a hold as aborted, with the SQLSTATE.
 */
pg_noreturn static void
aim_missed(Run *run, const char *what, const ConnectResult *result)
{
	bool		refused = result->end == CONNECT_REFUSED;

	if (refused && plan_is_hold(&run->plan))
		hold_refused(run, result->cause, result->sqlstate, 0);
	run->error_code = strlen(result->sqlstate) == 5
		? MAKE_SQLSTATE(result->sqlstate[0], result->sqlstate[1], result->sqlstate[2],
						result->sqlstate[3], result->sqlstate[4])
		: ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	run_end(run, VERDICT_INVALID, "%s %s: %s%s%s%s%s", what, run->plan.target_name,
			result->sqlstate, result->sqlstate[0] ? " " : "",
			refused ? cause_kinds[result->cause].name : "", refused ? ", " : "", result->message);
}

/*
 * Where the host is a name, libpq would wait for the name server: so that is
 * asked here, without blocking the loop.  Returns how many addresses there are;
 * 0 for a directory of sockets.
 */
static int
aim_resolve(Run *run, const char *host, Resolve *resolve)
{
	ConnectResult failure = {CONNECT_BROKEN, CAUSE_NONE};

	if (host[0] == '/' || host[0] == '@')
		return 0;
	resolve_begin(resolve, &run->loop, host);
	wait_until(run, resolve->done || resolve->failed, LOGIN_WAIT_MS);
	if (resolve->done && !resolve->failed && resolve->naddresses > 0)
		return resolve->naddresses;
	snprintf(failure.message, MESSAGE_LEN, "host name \"%s\": %s", host,
			 resolve->failed ? resolve->error : "the name server does not answer");
	resolve_give_up(resolve);
	aim_missed(run, "could not find", &failure);
}

/* Tries one address after the other, and keeps the first where somebody answers. */
static ConnectResult
aim_try_addresses(Run *run, Endpoint *endpoint)
{
	Resolve    *resolve = palloc0(sizeof(Resolve));
	int			n = aim_resolve(run, endpoint->host, resolve);
	ConnectResult result;

	for (int i = 0; i < Max(n, 1); i++)
	{
		Login		login = endpoint->login;
		Way			way = {.name = run->plan.target_name};

		if (n > 0)
			login_add(&login, "hostaddr", resolve->addresses[i]);
		way.login = login;
		result = way_try(&run->loop, &way, InvalidOid, LOGIN_WAIT_MS, run_must_end, run);
		run_end_if_must(run);
		if (result.end == CONNECT_BROKEN || result.end == CONNECT_TIMED_OUT)
			continue;
		endpoint->login = login;
		if (n > 0 && endpoint->console.params > 0)
			login_add(&endpoint->console, "hostaddr", resolve->addresses[i]);
		break;
	}
	return result;
}

/* Whoever is let in there without their password is let in as somebody else. */
static void
aim_try_login(Run *run, RunService *service)
{
	ConnectResult result = aim_try_addresses(run, service->endpoint);

	if (result.end != CONNECT_GRANTED)
		aim_missed(run, "could not log in to", &result);
	if (service->endpoint->password_required && !result.used_password)
	{
		run->error_code = ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED;
		run_end(run, VERDICT_INVALID,
				"%s does not ask for a password, and non-superusers may only aim where theirs is asked for",
				run->plan.target_name);
	}
	run->way_in = run->plan.target_name;
}

/* ---------- Asking it ---------- */

static void
aim_ask(Run *run, RunService *service)
{
	Endpoint   *endpoint = service->endpoint;
	bool		bouncer = run->plan.target == TARGET_PGBOUNCER;
	Probe	   *probe;

	if (!bouncer && endpoint->capacity > 0)
		return;					/* it is told, so it cannot be asked */
	if (!bouncer)
	{
		/* Another login of the same kind, but by another name. */
		endpoint->console = endpoint->login;
		login_add(&endpoint->console, "application_name",
				  psprintf("%s" PROBE_SUFFIX, login_value(&endpoint->login, "application_name")));
	}
	probe = palloc0(sizeof(Probe));
	probe->questions = bouncer ? pgbouncer_questions : postgres_questions;
	probe->application_name = login_value(&endpoint->login, "application_name");
	probe->user = login_value(&endpoint->login, "user");
	probe->database = login_value(&endpoint->login, "dbname");
	if (probe->user == NULL)
		probe->user = "";
	if (probe->database == NULL)
		probe->database = probe->user;
	service->probe = probe;
	probe_open(probe, &run->loop, &endpoint->console, LOGIN_WAIT_MS);
	wait_until(run, probe_refresh(probe, 1) || probe->state == PROBE_LOST, 2 * LOGIN_WAIT_MS);
	if (plan_is_hold(&run->plan))
		return;					/* of use for the proof, if it may ask */
	if (probe->heard_us == 0)
		aim_missed(run, bouncer ? "could not ask the console of" : "could not ask", &probe->failure);
	if (probe->figures.superuser)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping is a superuser on %s, and would take the slots that are reserved for those",
				run->plan.target_name);
	if (probe->figures.blind)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping cannot see who else is connected to %s: grant it pg_read_all_stats there, or say with the server's option capacity how many connections there are to be had",
				run->plan.target_name);
}

/*
 * Filling a foreign server shuts others out there, and only the run sees whether
 * there are any; see preflight.c for this server.  The login that was tried may
 * need a moment to go.
 */
static void
aim_require_alone(Run *run, RunService *service)
{
	Probe	   *probe = service->probe;
	int			others = 0;

	if (probe == NULL || run->plan.options.bystanders != BYSTANDERS_REFUSE)
		return;
	poll_until(run, probe_refresh(probe, loop_now_us()) || probe->state == PROBE_LOST ||
			   (others = probe->figures.in_use - probe->figures.ours - probe->figures.probes) <= 0, OTHERS_WAIT_MS);
	if (others > 0)
		run_end(run, VERDICT_INVALID,
				"%d connections of others are open on %s, and this would shut them out (option bystanders = refuse)",
				others, run->plan.target_name);
}

/* ---------- What the options leave to it ---------- */

/* The options that a foreign server knows better, with what it says. */
static void
aim_fit_options(Run *run, const Figures *figures)
{
	Options    *options = &run->plan.options;
	int64		capacity = figures->pool_size + figures->reserve;
	struct
	{
		int64	   *option;
		int64		value;
	}			fits[] = {
		{&options->pool_timeout_ms, figures->wait_timeout_ms},
		{&options->long_operations, 2 * capacity},
		{&options->quick_operations, capacity},
		{&options->long_ms, figures->wait_timeout_ms * 13 / 10},
		{&options->tolerance_ms, JANITOR_MS + 300},
		{&options->tolerance_percent, LEVEL_TOLERANCE},
	};

	for (int i = 0; i < lengthof(fits); i++)
		if (*fits[i].option == OPTION_INHERIT)
			*fits[i].option = fits[i].value;

	/* Whatever was expected, the story is of the pool that there is. */
	options->pool_size = figures->pool_size;
	options->max_overflow = figures->reserve;
}

/*
 * What the caller expects of the pool is a claim like others: a pool of another
 * size than one thinks is the commonest mistake.
 */
static void
aim_check_options(Run *run, const Figures *figures)
{
	const Options *options = &run->plan.options;

	if (options->pool_size != OPTION_INHERIT && options->pool_size > 0)
		check_count(run, "pool_size", options->pool_size, figures->pool_size,
					"PgBouncer's pool is of another size: see pool_size in SHOW DATABASES, default_pool_size in SHOW CONFIG");
	if (options->max_overflow != OPTION_INHERIT && options->pool_size > 0)
		check_count(run, "max_overflow", options->max_overflow, figures->reserve,
					"PgBouncer's reserve is of another size: see reserve_pool_size");
}

/* ERROR, as in the caller's session, if the options contradict what was found. */
static void
aim_require(Run *run)
{
	if (run->scenario->require != NULL)
		run->scenario->require(&run->plan.options);
}

/*
 * Finds the foreign server of the run's n-th service, logs in to try it, and
 * asks it what there is to know.  Ends the run as invalid, with the cause, if
 * that cannot be done.
 */
void
aim_open(Run *run, int n)
{
	RunService *service = &run->services[n];
	const Figures *figures;

	aim_read(run, service, n);
	aim_name_sessions(run, service->endpoint);
	aim_try_login(run, service);
	aim_ask(run, service);
	aim_require_alone(run, service);
	if (n > 0 || run->plan.target != TARGET_PGBOUNCER || run->scenario->logins)
		return;
	figures = &service->probe->figures;
	aim_check_options(run, figures);
	aim_fit_options(run, figures);
	if (run->plan.options.pool_timeout_ms == 0 || run->plan.options.pool_timeout_ms >= run->plan.options.timeout_ms)
		run_end(run, VERDICT_INVALID, figures->wait_timeout_ms == 0
				? "PgBouncer lets clients wait for ever (query_wait_timeout = 0): say with option pool_timeout_ms what you expect of it"
				: "PgBouncer lets clients wait for %.0f s (query_wait_timeout), longer than this run may take: raise option timeout_ms, or say with option pool_timeout_ms what you expect",
				figures->wait_timeout_ms / 1000.0);
	aim_require(run);
}

/* Finds the HTTP service that the run aims at; it is not asked anything yet. */
void
aim_open_service(Run *run)
{
	Endpoint   *endpoint = MemoryContextAllocZero(run->context, sizeof(Endpoint));

	StartTransactionCommand();
	MemoryContextSwitchTo(run->context);
	foreign_read(run->plan.server, run->plan.user, run->plan.target, endpoint);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
	run->endpoint = endpoint;
	run->way_in = run->plan.target_name;
}

/* ---------- Its pool ---------- */

/* Clients of a pooler that a run may have: what there is room for, and the most. */
#define CLIENTS_MAX		20000

static int
aim_sessions(const Run *run, const RunService *service, int spare)
{
	const Figures *figures = service->probe != NULL ? &service->probe->figures : NULL;
	int			capacity = figures != NULL ? figures->capacity - figures->in_use : service->endpoint->capacity;

	return Min(Max(capacity, 0) + spare, CLIENTS_MAX);
}

/* Opens no connection yet.  Ends the run as invalid if it may not have that many. */
Pool *
aim_pool(Run *run, const RunService *service)
{
	const Options *options = &run->plan.options;
	int			timeout_ms = (int) Min(LOGIN_TIMEOUT_MS, options->timeout_ms);
	int			spare = (int) (options->handshakes + options->knocks);

	if (run->plan.target == TARGET_PGBOUNCER && !run->scenario->logins)
	{
		BouncerPoolConfig config = {
			.loop = &run->loop,
			.login = service->login,
			.probe = service->probe,
			.handshakes = (int) options->handshakes,
			.timeout_ms = timeout_ms,
			.clients_max = Max(aim_sessions(run, service, 0), 1),
		};

		runner_raise_descriptors(config.clients_max);
		return pool_open_pgbouncer(&config);
	}
	else
	{
		ServerPoolConfig config = {
			.driver = run->plan.target == TARGET_PGBOUNCER ? &pool_clients : &pool_postgres,
			.loop = &run->loop,
			.login = service->login,
			.handshakes = (int) options->handshakes,
			.timeout_ms = timeout_ms,
			.sessions_max = aim_sessions(run, service, spare),
			.probe = service->probe,
			.capacity = service->endpoint->capacity,
		};

		if (plan_is_hold(&run->plan))
			config.sessions_max = run->plan.hold.connections + (int) options->handshakes;
		runner_raise_descriptors(config.sessions_max);
		return pool_open_server(&config);
	}
}

/* ---------- The proof ---------- */

/* The loop turns until the time is over or the probe has come to that state. */
static bool
probe_comes_to(Run *run, Probe *probe, ProbeState state, uint64 end_us)
{
	while (probe->state != state && loop_now_us() < end_us)
		loop_turn(&run->loop, TURN_MS);
	return probe->state == state;
}

/* A probe that was lost logs in again. */
static bool
probe_returns(Run *run, RunService *service, uint64 end_us)
{
	Probe	   *probe = service->probe;

	if (probe->state == PROBE_READY)
		return true;
	while (probe->session.state != SESSION_UNUSED && loop_now_us() < end_us)
		loop_turn(&run->loop, TURN_MS);
	if (probe->session.state != SESSION_UNUSED)
		return false;
	probe_open(probe, &run->loop, &service->endpoint->console, LOGIN_WAIT_MS);
	return probe_comes_to(run, probe, PROBE_READY, Min(end_us, loop_now_us() + LOGIN_WAIT_MS * 1000));
}

/* How many sessions of the run the service's target shows in the end; -1: it does not say. */
static int
service_left(Run *run, RunService *service)
{
	Probe	   *probe = service->probe;
	uint64		end_us = loop_now_us() + (uint64) PROOF_WAIT_MS * 1000;
	uint64		since_us = loop_now_us();
	int			left = -1;

	/* Where nobody listens any more, nobody has a session. */
	if (!probe_returns(run, service, end_us))
		return probe->state == PROBE_LOST && probe->failure.end == CONNECT_BROKEN ? 0 : -1;
	while (left != 0 && loop_now_us() < end_us && probe->state == PROBE_READY)
	{
		if (probe_refresh(probe, since_us))
		{
			left = probe->figures.ours;
			since_us = loop_now_us();
		}
		else
			loop_turn(&run->loop, TURN_MS);
	}
	return left;
}

/*
 * Returns how many sessions of the run its targets still show, after a wait for
 * them to go; -1 if one does not say.  To be called when all are closed.
 */
int
aim_left(Run *run)
{
	int			sum = 0;

	for (int i = 0; i < run->nservices; i++)
	{
		RunService *service = &run->services[i];
		int			left;

		if (service->probe == NULL || service->probe->heard_us == 0)
			continue;
		left = service_left(run, service);
		if (left < 0)
			return left;
		sum += left;
	}
	return sum;
}

/* The probes log out. */
void
aim_close(Run *run)
{
	for (int i = 0; i < run->nservices; i++)
		if (run->services[i].probe != NULL)
			probe_close(run->services[i].probe);
}

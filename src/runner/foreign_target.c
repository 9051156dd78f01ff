/*
 * foreign_target.c
 *		How a run gets to its foreign server, and whom it finds there.
 *
 * Nothing is made on the other side: the run logs in as the user of the mapping,
 * and its sessions are known by an application_name of their own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"

#include "load/target/endpoint.h"
#include "load/target/local_endpoint.h"
#include "request/foreign_server.h"
#include "runner/foreign_target.h"
#include "scenario/hold.h"

#define LOGIN_WAIT_MS	(5 * 1000)
#define OTHERS_WAIT_MS	(2 * 1000)

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
foreign_target_read(Run *run, RunParty *party, int n)
{
	Endpoint   *endpoint = MemoryContextAllocZero(run->context, sizeof(Endpoint));
	Oid			server = run->request.server;

	StartTransactionCommand();
	MemoryContextSwitchTo(run->context);
	if (n > 0)
		server = get_foreign_server_oid(run->options.second, false);
	foreign_read(server, run->request.user, run->request.target, endpoint);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
	party->endpoint = endpoint;
	party->login = &endpoint->login;
}

static void
foreign_target_name_sessions(Run *run, Endpoint *endpoint)
{
	char	   *name = psprintf("%s %x-" INT64_FORMAT, RUN_APPLICATION_NAME, MyProcPid,
								request_is_hold(&run->request) ? run->entry->hold_id : run->entry->run_id);

	login_add(&endpoint->login, "application_name", name);
	if (endpoint->console.params > 0)
		login_add(&endpoint->console, "application_name", psprintf("%s" PROBE_SUFFIX, name));
}

/*
 * Ends the run as invalid, because what it would find out is nothing about
 * capacity; a hold as aborted, with the SQLSTATE.
 */
pg_noreturn static void
foreign_target_missed(Run *run, const char *what, const ConnectResult *result)
{
	bool		refused = result->end == CONNECT_REFUSED;

	if (refused && request_is_hold(&run->request))
		hold_refused(run, result->cause, result->sqlstate, 0);
	run->error_code = strlen(result->sqlstate) == 5
		? MAKE_SQLSTATE(result->sqlstate[0], result->sqlstate[1], result->sqlstate[2],
						result->sqlstate[3], result->sqlstate[4])
		: ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	run_end(run, VERDICT_INVALID, "%s %s: %s%s%s%s%s", what, run->request.target_name,
			result->sqlstate, result->sqlstate[0] ? " " : "",
			refused ? cause_kinds[result->cause].name : "", refused ? ", " : "", result->message);
}

/*
 * Where the host is a name, libpq would wait for the name server: so that is
 * asked here, without blocking the loop.  Returns how many addresses there are;
 * 0 for a directory of sockets.
 */
static int
foreign_target_resolve(Run *run, const char *host, Resolve *resolve)
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
	foreign_target_missed(run, "could not find", &failure);
}

/* Tries one address after the other, and keeps the first where somebody answers. */
static ConnectResult
foreign_target_try_addresses(Run *run, Endpoint *endpoint)
{
	Resolve    *resolve = palloc0(sizeof(Resolve));
	int			n = foreign_target_resolve(run, endpoint->host, resolve);
	ConnectResult result;

	for (int i = 0; i < Max(n, 1); i++)
	{
		Login		login = endpoint->login;
		LocalEndpoint			local = {.name = run->request.target_name};

		if (n > 0)
			login_add(&login, "hostaddr", resolve->addresses[i]);
		local.login = login;
		result = local_endpoint_try(&run->loop, &local, InvalidOid, LOGIN_WAIT_MS, run_must_end, run);
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
foreign_target_require_password(Run *run, const Endpoint *endpoint, bool used, const char *where)
{
	if (used || !endpoint->password_required)
		return;
	run->error_code = ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED;
	run_end(run, VERDICT_INVALID,
			"%s%s does not ask for a password, and non-superusers may only aim where theirs is asked for",
			where, run->request.target_name);
}

static void
foreign_target_try_login(Run *run, RunParty *party)
{
	ConnectResult result = foreign_target_try_addresses(run, party->endpoint);

	if (result.end != CONNECT_GRANTED)
		foreign_target_missed(run, "could not log in to", &result);
	foreign_target_require_password(run, party->endpoint, result.used_password, "");
	run->login_endpoint = run->request.target_name;
}

/* ---------- Asking it ---------- */

/* What says something else on the console is no PgBouncer, or one that nobody knows yet. */
static void
foreign_target_require_figures(Run *run, const Figures *figures)
{
	if (figures->capacity > 0 && figures->pool_size > 0 && pgbouncer_mode_is_known(figures->mode))
		return;
	run_end(run, VERDICT_INVALID,
			"the console of %s does not tell what PgBouncer tells: max_client_conn %d, pool_size %d, pool_mode \"%s\"",
			run->request.target_name, figures->capacity, figures->pool_size, figures->mode);
}

static void
foreign_target_ask(Run *run, RunParty *party)
{
	Endpoint   *endpoint = party->endpoint;
	bool		bouncer = run->request.target == TARGET_PGBOUNCER;
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
	party->probe = probe;
	probe_open(probe, &run->loop, &endpoint->console, LOGIN_WAIT_MS);
	wait_until(run, probe->state != PROBE_CONNECTING, LOGIN_WAIT_MS);
	if (probe->state == PROBE_READY)
		foreign_target_require_password(run, endpoint, probe->used_password, bouncer ? "the console of " : "");
	wait_until(run, probe_refresh(probe, 1) || probe->state == PROBE_LOST, 2 * LOGIN_WAIT_MS);
	if (request_is_hold(&run->request))
		return;					/* of use for the proof, if it may ask */
	if (probe->heard_us == 0)
		foreign_target_missed(run, bouncer ? "could not ask the console of" : "could not ask", &probe->failure);
	if (bouncer)
		foreign_target_require_figures(run, &probe->figures);
	if (probe->figures.superuser)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping is a superuser on %s, and would take the slots that are reserved for those",
				run->request.target_name);
	if (probe->figures.blind)
		run_end(run, VERDICT_INVALID,
				"the user of the mapping cannot see who else is connected to %s: grant it pg_read_all_stats there, or say with the server's option capacity how many connections there are to be had",
				run->request.target_name);
}

/*
 * Filling a foreign server shuts others out there, and only the run sees whether
 * there are any; see preflight.c for this server.  The login that was tried may
 * need a moment to go.
 */
static void
foreign_target_require_alone(Run *run, RunParty *party)
{
	Probe	   *probe = party->probe;
	int			others = 0;

	if (probe == NULL || run->options.bystanders != BYSTANDERS_REFUSE)
		return;
	poll_until(run, probe_refresh(probe, loop_now_us()) || probe->state == PROBE_LOST ||
			   (others = probe->figures.in_use - probe->figures.ours - probe->figures.probes) <= 0, OTHERS_WAIT_MS);
	if (others > 0)
		run_end(run, VERDICT_INVALID,
				"%d connections of others are open on %s, and this would shut them out (option bystanders = refuse)",
				others, run->request.target_name);
}

/* A pool of the run's own beside the first service: the same server, sessions of another name. */
static void
foreign_target_beside(Run *run, RunParty *party)
{
	party->endpoint = run->parties[0].endpoint;
	party->login = palloc(sizeof(Login));
	*party->login = party->endpoint->login;
	login_add(party->login, "application_name",
			  psprintf("%s" BESIDE_SUFFIX, login_value(party->login, "application_name")));
}

/*
 * Finds the foreign server of the run's n-th service, logs in to try it, and
 * asks it what there is to know.  Ends the run as invalid, with the cause, if
 * that cannot be done.
 */
void
foreign_target_open(Run *run, int n)
{
	RunParty *party = &run->parties[n];

	if (n > 0 && party_is_embedded(run, n))
	{
		foreign_target_beside(run, party);
		return;
	}
	foreign_target_read(run, party, n);
	foreign_target_name_sessions(run, party->endpoint);
	foreign_target_try_login(run, party);
	foreign_target_ask(run, party);
	foreign_target_require_alone(run, party);
	if (n == 0 && run->request.target == TARGET_PGBOUNCER && !run->scenario->logins)
		foreign_target_fit(run, &party->probe->figures);
}

/* Finds the HTTP service that the run aims at; it is not asked anything yet. */
void
foreign_target_open_service(Run *run)
{
	Endpoint   *endpoint = MemoryContextAllocZero(run->context, sizeof(Endpoint));

	StartTransactionCommand();
	MemoryContextSwitchTo(run->context);
	foreign_read(run->request.server, run->request.user, run->request.target, endpoint);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
	run->endpoint = endpoint;
	run->login_endpoint = run->request.target_name;
}

/*
 * foreign_login.c
 *		How a run logs in to its foreign server, and asks it what it has.
 *
 * Nothing is made on the other side: the run logs in as the user of the mapping,
 * and its sessions are known by an application_name of their own.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "load/auth.h"
#include "load/failure.h"
#include "load/resolve.h"
#include "load/target/local_endpoint.h"
#include "scenario/hold.h"
#include "target/foreign.h"

#define LOGIN_WAIT_MS	(5 * 1000)
#define CUT_MS			"2200"	/* in which the other machine takes nothing */
#define OTHERS_WAIT_MS	(2 * 1000)

/* ---------- What the catalogs say ---------- */

static void
login_add_options(Login *login, const ForeignOption *known, List *options, Oid catalog)
{
	for (const ForeignOption *option = known; option->name != NULL; option++)
	{
		const char *value = foreign_option_value(options, option->name);

		if (option->catalog == catalog && option->is_libpq && value != NULL)
			login_add(login, option->name, value);
	}
}

static bool
is_this_machine(const char *host)
{
	return host[0] == '/' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
		strncmp(host, "127.", 4) == 0;
}

/* Returns whether all of these hosts are this machine. */
bool
foreign_is_here(List *hosts)
{
	ListCell   *cell;

	foreach(cell, hosts)
		if (!is_this_machine(lfirst(cell)))
			return false;
	return true;
}

/*
 * Fills in a login to that endpoint: those of the known options of server and
 * mapping that go to libpq, and what keeps libpq from taking the rest from
 * elsewhere.
 */
void
foreign_login_read(Login *login, const Endpoint *endpoint, const ForeignOption *known, List *server, List *mapping)
{
	login_add(login, "port", endpoint->port);
	/* Passwords go over TLS, except to this machine, unless the server says otherwise. */
	login_add(login, "sslmode", foreign_is_here(endpoint->hosts) ? "disable" : "require");
	login_add_options(login, known, server, ForeignServerRelationId);
	login_add_options(login, known, mapping, UserMappingRelationId);
	login_add(login, "host", endpoint->host);
	login_add(login, "passfile", NO_PASSFILE);
	login_add(login, "gssencmode", "disable");
	if (endpoint->password_required)
		auth_restrict(login, AUTH_PASSWORD);
}

/* ---------- The login is tried ---------- */

static void
foreign_login_name_sessions(Run *run, Endpoint *endpoint)
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
foreign_login_missed(Run *run, const char *what, const char *name, const ConnectResult *result)
{
	bool		refused = result->end == CONNECT_REFUSED;

	if (refused && request_is_hold(&run->request))
		hold_refused(run, result->cause, result->sqlstate, 0);
	run->error_code = failure_code(result);
	if (result->sqlstate[0] == '\0')
		run_glance_at_machine(run);
	run_end(run, VERDICT_INVALID, "%s %s: %s%s%s%s%s", what, name,
			result->sqlstate, result->sqlstate[0] ? " " : "",
			refused ? cause_kinds[result->cause].name : "", refused ? ", " : "", result->message);
}

/*
 * Where the host is a name, libpq would wait for the name server: so that is
 * asked here, without blocking the loop.  Returns how many addresses there are;
 * 0 for a directory of sockets.
 */
static int
foreign_login_resolve(Run *run, const char *host, const char *name, Resolve *resolve)
{
	ConnectResult failure;
	int			n;

	if (host_is_socket(host))
		return 0;
	resolve_begin(resolve, &run->loop, host);
	wait_until(run, resolve->done || resolve->failed, run_patience(run, LOGIN_WAIT_MS));
	n = resolve_end(resolve, host, &failure);
	if (n == 0)
		foreign_login_missed(run, "could not find", name, &failure);
	return n;
}

/*
 * Tries one address of the host after the other, and adds the first that answers to
 * the login.  Reports call the place by that name.
 */
static ConnectResult
foreign_login_try_host(Run *run, const char *host, const char *name, Login *login)
{
	Resolve    *resolve = palloc0(sizeof(Resolve));
	int			n = foreign_login_resolve(run, host, name, resolve);
	ConnectResult result;

	for (int i = 0; i < Max(n, 1); i++)
	{
		Login		tried = *login;
		LocalEndpoint local = {.name = unconstify(char *, name)};

		if (n > 0)
			login_add(&tried, "hostaddr", resolve->addresses.text[i]);
		local.login = tried;
		result = local_endpoint_try(&run->loop, &local, InvalidOid, run_patience(run, LOGIN_WAIT_MS), run_must_end, run);
		run_end_if_must(run);
		if (result.end == CONNECT_BROKEN || result.end == CONNECT_TIMED_OUT)
			continue;
		*login = tried;
		break;
	}
	return result;
}

/*
 * Logs in to that endpoint and out again, and completes its login by the address that
 * answered.  Reports call it by that name.
 */
ConnectResult
foreign_login_try(Run *run, Endpoint *endpoint, const char *name)
{
	return foreign_login_try_host(run, endpoint->host, name, &endpoint->login);
}

/* Counts the addresses of a ring, each once; 0 if it is of a socket. */
static int
ring_addresses(Login *ring)
{
	int			n = 0;

	foreach_login(each, ring)
	{
		const char *address = login_value(each, "hostaddr");
		bool		seen = address == NULL;

		foreach_login(earlier, ring)
		{
			if (earlier == each || seen)
				break;
			seen = strcmp(login_value(earlier, "hostaddr"), address) == 0;
		}
		n += !seen;
	}
	return n;
}

/* What is said of a place that has not asked for the password of the user; palloc'd. */
char *
foreign_login_unasked(const char *where, const char *name)
{
	return psprintf("%s%s does not ask for a password, and non-superusers may only aim where theirs is asked for: let its pg_hba.conf or auth_type ask for one",
					where, name);
}

/* A login that is granted without the password of the user is not that of the user: see AUTH_PASSWORD. */
static void
foreign_login_require_password(Run *run, const ConnectResult *result, const char *where)
{
	if (result->end != CONNECT_DENIED || strcmp(result->sqlstate, PASSWORD_NOT_ASKED) != 0)
		return;
	run->error_code = ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED;
	run_end(run, VERDICT_INVALID, "%s", foreign_login_unasked(where, run->request.target_name));
}

/* Logs in at that host, to try it, and completes the login by its address. */
static void
foreign_login_try_one(Run *run, const Endpoint *endpoint, const char *host, Login *login)
{
	const char *name = run->request.target_name;
	bool		several = list_length(endpoint->hosts) > 1;
	ConnectResult result = foreign_login_try_host(run, host, name, login);

	foreign_login_require_password(run, &result, "");
	if (result.end != CONNECT_GRANTED)
		foreign_login_missed(run, several ? psprintf("could not log in at %s to", host) : "could not log in to", name, &result);
	run->login_us = Max(run->login_us, result.took_us);
}

/* Tries each host that leads to the server, and makes a ring of their logins: one is as good as the other. */
static void
foreign_login_try_login(Run *run, RunParty *party)
{
	Endpoint   *endpoint = party->endpoint;
	Login		named = endpoint->login;
	Login	   *last = &endpoint->login;
	const char *address;
	ListCell   *cell;

	foreign_login_try_one(run, endpoint, endpoint->host, last);
	address = login_value(last, "hostaddr");
	if (address != NULL && endpoint->console.params > 0)
		login_add(&endpoint->console, "hostaddr", address);
	for_each_from(cell, endpoint->hosts, 1)
	{
		Login	   *login = palloc(sizeof(Login));

		*login = named;
		login_add(login, "host", lfirst(cell));
		foreign_login_try_one(run, endpoint, lfirst(cell), login);
		last->next = login;
		login->next = &endpoint->login;
		last = login;
	}
	endpoint->addresses = ring_addresses(&endpoint->login);
	run->login_endpoint = run->request.target_name;
}

/* ---------- Asking it ---------- */

/* Makes the console of a server that has none: another login of the same kind, by another name. */
void
foreign_login_make_console(Endpoint *endpoint)
{
	endpoint->console = endpoint->login;
	endpoint->console.next = NULL;
	login_add(&endpoint->console, "application_name",
			  psprintf("%s" PROBE_SUFFIX, login_value(&endpoint->login, "application_name")));
}

/* Its session is lost soon if the network is cut: the load of drivers depends on one that is there. */
static void
console_notices_cut(Login *console)
{
	login_add(console, "keepalives_idle", "1");
	login_add(console, "keepalives_interval", "1");
	login_add(console, "tcp_user_timeout", CUT_MS);
}

/*
 * Opens the probe of the party, which asks these questions on endpoint->console,
 * and waits for its first answers.  Returns false if it need not have them: of a
 * hold they are of use for the proof alone.  "failure" is what could not be done
 * otherwise, and "where" is the place that must ask for a password.
 */
bool
foreign_login_ask(Run *run, RunParty *party, const Question *questions, const char *failure, const char *where)
{
	Endpoint   *endpoint = party->endpoint;
	Probe	   *probe = palloc0(sizeof(Probe));

	probe->questions = questions;
	probe->application_name = login_value(&endpoint->login, "application_name");
	probe->user = login_value(&endpoint->login, "user");
	probe->database = login_value(&endpoint->login, "dbname");
	if (probe->user == NULL)
		probe->user = "";
	if (probe->database == NULL)
		probe->database = probe->user;
	party->probe = probe;
	if (run->options.drivers.n > 0)
		console_notices_cut(&endpoint->console);
	probe_open(probe, &run->loop, &endpoint->console, run_patience(run, LOGIN_WAIT_MS));
	wait_until(run, probe->state != PROBE_CONNECTING, run_patience(run, LOGIN_WAIT_MS));
	foreign_login_require_password(run, &probe->failure, where);
	wait_until(run, probe_refresh(probe, 1) || probe->state == PROBE_LOST, run_patience(run, 2 * LOGIN_WAIT_MS));
	if (request_is_hold(&run->request))
		return false;
	if (probe->heard_us == 0)
		foreign_login_missed(run, failure, run->request.target_name, &probe->failure);
	return true;
}

/*
 * Filling a foreign server refuses other clients there, and only the run sees
 * whether there are any; for this server see server_require_alone().  The session
 * of the login that was tried may need a moment to end.
 */
void
foreign_login_require_alone(Run *run, RunParty *party)
{
	Probe	   *probe = party->probe;
	int			others = 0;

	if (probe == NULL || run->options.bystanders != BYSTANDERS_REFUSE)
		return;
	poll_until(run, probe_refresh(probe, loop_now_us()) || probe->state == PROBE_LOST ||
			   (others = probe->figures.in_use - probe->figures.ours - probe->figures.probes) <= 0, run_patience(run, OTHERS_WAIT_MS));
	if (others > 0)
		run_end(run, VERDICT_INVALID,
				"%d connections of others are open on %s, and this would refuse their next logins (option bystanders = refuse): wait until they are gone, or set bystanders to ignore",
				others, run->request.target_name);
}

/* A pool of the run's own beside the first party: the same server, sessions of another name. */
static void
foreign_login_beside(Run *run, RunParty *party)
{
	const char *name;
	Login	   *last = NULL;

	party->endpoint = run->parties[0].endpoint;
	name = psprintf("%s" BESIDE_SUFFIX, login_value(&party->endpoint->login, "application_name"));
	foreach_login(each, &party->endpoint->login)
	{
		Login	   *login = palloc(sizeof(Login));

		*login = *each;
		login_add(login, "application_name", name);
		if (last == NULL)
			party->login = login;
		else
			last->next = login;
		last = login;
	}
	last->next = party->login;
}

/*
 * Finds the foreign server of the run's n-th party and logs in to try it.  Returns
 * false where the party is only another name on the server of the first, so that
 * nothing more is to be found out.  Ends the run as invalid, with the cause, if
 * that cannot be done.
 */
bool
foreign_login_open(Run *run, int n)
{
	RunParty   *party = &run->parties[n];

	if (n > 0 && party_is_embedded(run, n))
	{
		foreign_login_beside(run, party);
		return false;
	}
	party->endpoint = foreign_read(run, n);
	party->login = &party->endpoint->login;
	foreign_login_name_sessions(run, party->endpoint);
	foreign_login_try_login(run, party);
	return true;
}

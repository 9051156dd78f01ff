/*
 * identity.c
 *		The login role of a run: made, used and dropped by the run.
 *
 * A run never uses an existing role.  Its role has no privilege but
 * CONNECT, a random password that only the runner knows, and an end of its
 * own (VALID UNTIL): see role.c.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/dbcommands.h"
#include "commands/user.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "load/failure.h"
#include "load/target/local_endpoint.h"
#include "request/run_table.h"
#include "runner/identity.h"
#include "runner/role.h"
#include "scenario/hold.h"
#include "sql/statement.h"

#define PASSWORD_BYTES	32
#define ENDPOINT_TIMEOUT_MS	5000
#define GRACE_MS		60000	/* after the run's deadline */

/*
 * Stretching a password makes a weak one dearer to guess.  This one is random
 * and lives for a run, so one round is as safe as 4096, and saves a client
 * milliseconds of SHA-256 a login.
 */
#define SCRAM_ROUNDS	1

static void
random_bytes(void *buf, size_t len)
{
	if (!pg_strong_random(buf, len))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes for a password")));
}

static char *
password_make(void)
{
	char		raw[PASSWORD_BYTES];
	char	   *text = palloc0(2 * PASSWORD_BYTES + 1);

	random_bytes(raw, sizeof(raw));
	hex_encode(raw, sizeof(raw), text);
	explicit_bzero(raw, sizeof(raw));
	return text;
}

static char *
verifier_make(const char *password)
{
	uint8		salt[SCRAM_DEFAULT_SALT_LEN];
	const char *error = NULL;
	char	   *verifier;

	random_bytes(salt, sizeof(salt));
	verifier = compat_scram_secret(salt, sizeof(salt), SCRAM_ROUNDS, password, &error);
	if (verifier == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a SCRAM verifier: %s", error)));
	return verifier;
}

/* The CONNECTION LIMIT of a service's role; -1 is none. */
static int
role_limit(const Run *run, int n)
{
	const Options *options = &run->options;

	if (!run->target->role_limit || run_fault(run, FAULT_NO_LIMIT) ||
		n != run->scenario->limited)
		return -1;
	return options->role_limit > 0 ? (int) options->role_limit : -1;
}

static char *
password_and_role_create(Run *run, int place, int n)
{
	RunParty   *party = &run->parties[n];
	MemoryContext context = CurrentMemoryContext;
	char	   *password = password_make();
	const Options *options = &run->options;
	TimestampTz end = GetCurrentTimestamp() +
		((TimestampTz) options->timeout_ms + GRACE_MS) * 1000;

	snprintf(party->role_name, NAMEDATALEN, ROLE_PREFIX "%d", ROLE_NUMBER(place, n));
	if (n == 0)
		roles_sweep(place);
	transaction_begin();
	party->role = role_make(party->role_name, verifier_make(password), role_limit(run, n),
							timestamptz_to_str(end), run->database, !request_is_hold(&run->request));
	transaction_commit();
	MemoryContextSwitchTo(context);
	return password;
}

/* Returns the line of pg_hba.conf that would admit the run's role, for the reason, palloc'd. */
static char *
hba_advice(const Run *run, const RunParty *party)
{
	bool		tcp = local_endpoint_listens("127.0.0.1");

	return psprintf("; put this line above the others in pg_hba.conf and reload: "
					"%s \"%s\" %s %sscram-sha-256",
					tcp ? "host" : "local", run->database, party->role_name,
					tcp ? "127.0.0.1/32 " : "");
}

/*
 * Tries the local endpoints in their order, and keeps the first that grants a login.
 * Ends the run as invalid if none does.
 */
static void
identity_find_endpoint(Run *run, const RunParty *party, const char *password)
{
	StringInfoData tried;
	bool		denied = false;
	ListCell   *lc;

	initStringInfo(&tried);
	foreach(lc, local_endpoints_list(party->role_name, password, run->database, RUN_APPLICATION_NAME))
	{
		LocalEndpoint *local = lfirst(lc);
		ConnectResult result = local_endpoint_try(&run->loop, local, party->role, run_patience(run, ENDPOINT_TIMEOUT_MS),
												  run_must_end, run);

		run_end_if_must(run);
		if (result.end == CONNECT_GRANTED)
		{
			run->login_us = result.took_us;
			run->login_endpoint = local->name;
			run->way_in = local->sort;
			*party->login = local->login;
			return;
		}
		if (result.end == CONNECT_REFUSED && request_is_hold(&run->request))
			hold_refused(run, result.cause, result.sqlstate, 0);
		if (result.end == CONNECT_REFUSED)
			run_end(run, VERDICT_INVALID, "no connection is left to begin with: %s %s, %s; end some sessions, pool_exhaust_backends has their pids",
					result.sqlstate, cause_kinds[result.cause].name, result.message);
		denied |= strncmp(result.sqlstate, "28", 2) == 0;
		appendStringInfo(&tried, "%s%s: %s", tried.len > 0 ? "; " : "", local->name,
						 connect_failure_text(&result));
	}
	run->error_code = ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
	if (!denied)
		run_glance_at_machine(run);
	run_end(run, VERDICT_INVALID, "the run's role could not log in%s (tried %s)",
			denied ? hba_advice(run, party) : "", tried.data);
}

/*
 * Makes the role of the run's n-th party and finds the endpoint that it can log in
 * over: fills in its login, with strings in the current memory context.  ERROR if
 * the role cannot be made; ends the run as invalid if it cannot log in.
 */
void
identity_create(Run *run, int place, int n)
{
	char	   *password = password_and_role_create(run, place, n);

	identity_find_endpoint(run, &run->parties[n], password);
}

/*
 * Drops the run's roles, those that were made; no transaction may be under way.
 * Returns NULL once they are gone, or else what keeps them, palloc'd.
 */
char *
identity_drop(Run *run)
{
	StringInfoData kept;

	initStringInfo(&kept);
	for (int i = 0; i < RUN_PARTIES_MAX; i++)
	{
		RunParty   *party = &run->parties[i];
		char	   *held = OidIsValid(party->role) ? role_retire(party->role) : NULL;

		if (held == NULL)
			party->role = InvalidOid;
		else
			appendStringInfo(&kept, "%s%s", kept.len > 0 ? "; " : "", held);
	}
	return kept.len > 0 ? kept.data : NULL;
}

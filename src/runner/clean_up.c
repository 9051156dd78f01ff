/*
 * clean_up.c
 *		The end of every run, however its story ended: a list of obligations, each
 *		of which is settled and then proved.
 *
 * A clean-up that cannot be proved fails the run, whatever the story said: the
 * reason has the pids of what is left, or where to find it.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"

#include "load/failure.h"
#include "load/http/http_client.h"
#include "load/http/reference_api.h"
#include "load/target/endpoint.h"
#include "load/target/probe.h"
#include "observe/slots/census.h"
#include "runner/clean_up.h"
#include "runner/identity.h"
#include "runner/sub_runs.h"
#include "scenario/hold.h"
#include "sql/extension.h"
#include "target/drivers.h"
#include "target/foreign.h"

/*
 * For logins under way.  One that waits for DROP DATABASE, which waits for us,
 * must be given up before that gives up, after 5 s.
 */
#define DRAIN_TIMEOUT_MS	(3 * 1000)
#define CLOSE_TIMEOUT_MS	(10 * 1000) /* to end by themselves */
#define BUSY_TIMEOUT_MS		200 /* if they may be in a statement */
#define KILL_TIMEOUT_MS		(5 * 1000)	/* after they have been terminated */
#define KILLS				2	/* a login that was given up may be granted after the first */
#define KILLS_BUSY			6	/* a backend that gets no processor cannot end */
#define TURN_MS				2
#define PIDS_SHOWN			10

typedef struct Obligation
{
	const char *what;
	void		(*settle) (Run *run);	/* returns when that is done, or its time is over; NULL: nothing
									 * is to be done */
	int			(*left) (Run *run); /* how many are left after that, -1: unknown; NULL: none */

	/* The reason if that is not 0: a format for the number, or else a function, palloc'd. */
	const char *complaint;
	char	   *(*complaint_text) (const Run *run, int left);
	bool		sessions;		/* what is left counts in the check of sessions */
} Obligation;

/* What is left of obligations with "sessions", as far as that is known. */
static int	sessions_found;

/* ---------- Chaos ---------- */

/* It ends with the story, and has a line of its own before the phase of the clean-up. */
static void
chaos_settle(Run *run)
{
	chaos_end(&run->chaos);
	run_report_chaos(run);
	phase(run, "clean up");
}

/* ---------- HTTP ---------- */

static void
http_settle(Run *run)
{
	http_client_close(run->http);
	reference_api_close(run->api);
}

/* ---------- Logins under way ---------- */

/*
 * Nothing is granted any more, and logins under way come to their end, as a
 * rule: one that is cut off half-way could be granted after the proof.  Those to a
 * target that is gone come to none.
 */
static void
logins_settle(Run *run)
{
	uint64		end_us = loop_now_us() + (run->target_gone ? 0 : (uint64) DRAIN_TIMEOUT_MS * 1000);

	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].pool != NULL)
			pool_drain(run->parties[i].pool);
	for (int i = 0; i < run->nparties; i++)
		while (run->parties[i].pool != NULL && run->parties[i].pool->stats.opening > 0 &&
			   loop_now_us() < end_us)
			loop_turn(&run->loop, TURN_MS);
}

/* ---------- Sessions on this server ---------- */

/* How many sessions the run's roles have; up to "max" of their pids go to "pids". */
static int
sessions_left(const Run *run, int *pids, int max)
{
	int			n = 0;

	for (int i = 0; i < run->nparties; i++)
		if (OidIsValid(run->parties[i].role))
			n += census_role_sessions(run->parties[i].role, pids != NULL ? pids + Min(n, max) : NULL,
									  Max(max - n, 0));
	return n;
}

static int
sessions_proof(Run *run)
{
	return sessions_left(run, NULL, 0);
}

/* Turns the loop until none is left, or the time is over; returns how many are. */
static int
sessions_wait(Run *run, int timeout_ms)
{
	uint64		end_us = loop_now_us() + (uint64) timeout_ms * 1000;
	int			left;

	while ((left = sessions_left(run, NULL, 0)) > 0 && loop_now_us() < end_us)
		loop_turn(&run->loop, TURN_MS);
	return left;
}

static void
terminate_sessions(const Run *run)
{
	int		   *pids = palloc(sizeof(int) * MaxConnections);
	int			n = Min(sessions_left(run, pids, MaxConnections), MaxConnections);

	for (int i = 0; i < n; i++)
		kill(pids[i], SIGTERM);
	pfree(pids);
}

static char *
pids_text(const Run *run)
{
	int			pids[PIDS_SHOWN];
	int			n = sessions_left(run, pids, PIDS_SHOWN);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < Min(n, PIDS_SHOWN); i++)
		appendStringInfo(&text, "%s%d", i > 0 ? ", " : "", pids[i]);
	if (n > PIDS_SHOWN)
		appendStringInfoString(&text, ", ...");
	return text.data;
}

/*
 * Are some in the middle of a statement, or of a login that waits for a lock?
 * Their backends do not notice that the client has gone.
 */
static bool
sessions_are_busy(const Run *run)
{
	if (run->hold != NULL && hold_is_busy(run->hold))
		return true;
	for (int i = 0; i < run->nloose; i++)
		if (run->loose[i]->done != NULL)
			return true;
	for (int i = 0; i < run->nparties; i++)
	{
		const Pool *pool = run->parties[i].pool;

		if (pool != NULL && pool->type->queues && (pool->stats.held > 0 || pool->stats.opening > 0))
			return true;
	}
	return false;
}

/* Closes those of the pools and those beside them; terminates what does not end by that. */
static void
sessions_settle(Run *run)
{
	bool		busy = sessions_are_busy(run);
	int			left;

	alarm_clock_close(&run->clock);
	for (int i = 0; i < run->nloose; i++)
		session_close(run->loose[i]);
	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].pool != NULL)
			pool_close(run->parties[i].pool);
	left = sessions_wait(run, busy ? BUSY_TIMEOUT_MS : run_patience(run, CLOSE_TIMEOUT_MS));
	for (int i = 0; left > 0 && i < (run_is_late(run) ? KILLS_BUSY : KILLS); i++)
	{
		terminate_sessions(run);
		left = sessions_wait(run, run_patience(run, KILL_TIMEOUT_MS));
	}
}

static const char *
run_noun(const Run *run)
{
	return request_is_hold(&run->request) ? "hold" : "run";
}

static char *
sessions_complaint(const Run *run, int left)
{
	return psprintf("%d sessions of the %s are still there: pid %s", left, run_noun(run), pids_text(run));
}

/* ---------- Sessions on foreign servers ---------- */

/* What went wrong in a story that has lost its target is explained by that. */
static void
reason_add_lost(Run *run)
{
	for (int i = 0; i < run->nparties; i++)
	{
		const RunParty *party = &run->parties[i];
		const Probe *probe = party->probe;
		size_t		len = strlen(run->reason);

		if (probe == NULL || probe->heard_us == 0 || probe->state != PROBE_LOST || probe->returns ||
			strstr(run->reason, probe->failure.message) != NULL)
			continue;
		snprintf(run->reason + len, sizeof(run->reason) - len, "%s%s was lost on the way: %s",
				 len > 0 ? "; " : "", party->endpoint->name, connect_failure_text(&probe->failure));
	}
}

/* They are closed by now, and have time to go. */
static int
foreign_proof(Run *run)
{
	int			left = foreign_proof_left(run);

	foreign_proof_close(run);
	return left;
}

static char *
foreign_complaint(const Run *run, int left)
{
	if (left > 0)
		return psprintf("%d sessions of the %s are still open on %s%s%s", left, run_noun(run), run->request.target_name,
						run->drivers != NULL && run->reason[0] != '\0' ? "; " : "", run->drivers != NULL ? run->reason : "");
	return psprintf("%s does not say whether sessions of the run are left%s%s", run->request.target_name,
					run->reason[0] != '\0' ? "; " : "", run->reason);
}

/* ---------- Roles ---------- */

static char *roles_kept;		/* what keeps them */

static void
roles_settle(Run *run)
{
	loop_close(&run->loop);
	roles_kept = identity_drop(run);
}

/* How many have not been dropped. */
static int
roles_left(Run *run)
{
	int			n = 0;

	for (int i = 0; i < run->nparties; i++)
		n += OidIsValid(run->parties[i].role);
	return n;
}

static char *
roles_complaint(const Run *run, int left)
{
	return psprintf("could not drop %s of the run, which cannot log in any more; the next run tries again: %s",
					left == 1 ? "the role" : "the roles", roles_kept != NULL ? roles_kept : "see the server log");
}

/* ---------- The record ---------- */

static void
record_settle(Run *run)
{
	if (run->pool != NULL)
		check_attempts(run);
	if (run->pool != NULL)
		check_count(run, "sessions left at the end", 0, sessions_found,
					"end them with pg_terminate_backend: the reason above has their pids");
	phase_end(run);
}

/* ---------- The list ---------- */

/* In the order in which they are settled. */
static const Obligation obligations[] = {
	{"drivers", drivers_report},
	{"chaos", chaos_settle},
	{"sub-runs", sub_runs_end, sub_runs_left, "%d runs that it has started are still under way"},
	{"HTTP client and reference API", http_settle},
	{"logins under way", logins_settle},
	{"stalled logins", hold_end_stalled, hold_stalled_left,
	"%d stalled logins of the hold are still there: pool_exhaust_slots counts them"},
	{"sessions", sessions_settle, sessions_proof, .complaint_text = sessions_complaint, .sessions = true},
	{"the sessions of drivers", drivers_recall},
	{"sessions on foreign servers", reason_add_lost, foreign_proof, .complaint_text = foreign_complaint, .sessions = true},
	{"roles", roles_settle, roles_left, .complaint_text = roles_complaint},
	{"record", record_settle},
};

/*
 * Settles one.  Returns NULL if nothing is left of it, or else why the run fails;
 * an ERROR is logged, and ends neither the clean-up nor the run.
 */
static const char *
obligation_settle(Run *run, const Obligation *obligation)
{
	const char *volatile complaint = NULL;

	PG_TRY();
	{
		int			left = 0;

		if (obligation->settle != NULL)
			obligation->settle(run);
		if (obligation->left != NULL)
			left = obligation->left(run);
		if (obligation->sessions)
			sessions_found += Max(left, 0);
		if (left != 0)
			complaint = obligation->complaint_text != NULL
				? obligation->complaint_text(run, left) : psprintf(obligation->complaint, left);
	}
	PG_CATCH();
	{
		error_catch(run->context, LOG);
		ereport(LOG, (errmsg("pool_exhaust: the clean-up of %s failed", obligation->what)));
		complaint = "the clean-up failed, and the server log says why";
	}
	PG_END_TRY();
	return complaint;
}

/*
 * Settles and proves all that the run has to leave behind it: nothing.  What
 * cannot be proved, or ends in an ERROR, makes its verdict FAIL; the others are
 * settled nevertheless.  The first complaint replaces the story's reason, each
 * other one is added to it.
 */
void
clean_up(Run *run)
{
	bool		proved = true;

	for (int i = 0; i < lengthof(obligations); i++)
	{
		const char *complaint = obligation_settle(run, &obligations[i]);
		size_t		len = proved ? 0 : strlen(run->reason);

		if (complaint == NULL)
			continue;
		snprintf(run->reason + len, sizeof(run->reason) - len, "%s%s", proved ? "" : "; ", complaint);
		run->verdict = VERDICT_FAIL;
		proved = false;
	}
}

/*
 * clean_up.c
 *		The end of every run, however its story ended: let go of every
 *		connection, prove that nothing is left, drop the role.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"

#include "load/http/http_client.h"
#include "load/http/reference_api.h"
#include "load/target/endpoint.h"
#include "observe/slots/census.h"
#include "request/extension.h"
#include "runner/clean_up.h"
#include "runner/foreign_target.h"
#include "runner/identity.h"
#include "runner/sub_runs.h"
#include "scenario/hold.h"

/*
 * For logins under way.  One that waits for DROP DATABASE, which waits for us,
 * must be given up before that gives up, after 5 s.
 */
#define DRAIN_TIMEOUT_MS	(3 * 1000)
#define CLOSE_TIMEOUT_MS	(10 * 1000) /* to end by themselves */
#define BUSY_TIMEOUT_MS		200		/* if they may have something to do */
#define KILL_TIMEOUT_MS		(5 * 1000)	/* after that */
#define TURN_MS				2
#define PIDS_SHOWN			10

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

/* Turns the loop until there are none, or the time is over. */
static int
wait_for_silence(Run *run, int timeout_ms)
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
 * Nobody gets a connection any more, and logins under way come to their end, as
 * a rule: one that is cut off half-way could turn up after the proof.
 */
static void
drain_pools(Run *run)
{
	uint64		end_us = loop_now_us() + (uint64) DRAIN_TIMEOUT_MS * 1000;

	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].pool != NULL)
			pool_drain(run->parties[i].pool);
	for (int i = 0; i < run->nparties; i++)
		while (run->parties[i].pool != NULL && run->parties[i].pool->stats.opening > 0 &&
			   loop_now_us() < end_us)
			loop_turn(&run->loop, TURN_MS);
}

/*
 * Lets go of every connection.  A backend in the middle of a statement, or one
 * whose login waits for a lock, does not notice that its client has gone, so
 * those are ended without waiting for it.
 */
static void
close_sessions(Run *run, volatile int *stalled)
{
	bool		busy = run->hold != NULL && hold_is_busy(run->hold);

	if (!run->loop.open)
		return;
	http_client_close(run->http);
	reference_api_close(run->api);
	drain_pools(run);
	*stalled = hold_hang_up(run);
	alarm_clock_close(&run->clock);
	for (int i = 0; i < run->nloose; i++)
	{
		busy |= run->loose[i]->done != NULL;
		session_close(run->loose[i]);
	}
	for (int i = 0; i < run->nparties; i++)
	{
		Pool	   *pool = run->parties[i].pool;

		if (pool == NULL)
			continue;
		busy |= pool->driver->queues && (pool->stats.held > 0 || pool->stats.opening > 0);
		pool_close(pool);
	}
	if (wait_for_silence(run, busy ? BUSY_TIMEOUT_MS : CLOSE_TIMEOUT_MS) > 0)
	{
		terminate_sessions(run);
		wait_for_silence(run, KILL_TIMEOUT_MS);
	}
}

/* "pool_exhaust_1", and the others. */
static char *
roles_text(const Run *run)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < run->nparties; i++)
		if (OidIsValid(run->parties[i].role))
			appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", run->parties[i].role_name);
	return text.data;
}

/* Whatever went wrong in a story that has lost its target came of that. */
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
		snprintf(run->reason + len, sizeof(run->reason) - len, "%s%s was lost on the way: %s%s%s",
				 len > 0 ? "; " : "", party->endpoint->name, probe->failure.sqlstate,
				 probe->failure.sqlstate[0] ? " " : "", probe->failure.message);
	}
}

/* The same where the sessions were on a foreign server. */
static int
foreign_left(Run *run)
{
	int			left;

	reason_add_lost(run);
	left = foreign_target_left(run);
	foreign_target_close(run);
	if (left >= 0)
		return left;
	snprintf(run->reason, sizeof(run->reason), "%s does not say whether sessions of the run are left%s%s",
			 run->request.target_name, run->reason[0] != '\0' ? "; " : "",
			 pstrdup(run->reason));
	run->verdict = VERDICT_FAIL;
	return 0;
}

/*
 * Closes, proves that nothing is left, drops the role.  A clean-up that cannot
 * be proved fails the run, whatever the story said.
 */
void
clean_up(Run *run)
{
	volatile int left = 0;
	volatile int stalled = 0;
	volatile int sub_runs = 0;

	PG_TRY();
	{
		chaos_end(&run->chaos);
		run_tell_chaos(run);
		phase(run, "clean up");
		sub_runs = sub_runs_end(run);
		close_sessions(run, &stalled);
		left = sessions_left(run, NULL, 0);
		if (left > 0)
		{
			/* A login that was given up may have come through only now. */
			terminate_sessions(run);
			left = wait_for_silence(run, KILL_TIMEOUT_MS);
		}
		if (left == 0 && run->loop.open)
			left = foreign_left(run);
		if (left > 0 && !run_is_local(run))
			snprintf(run->reason, sizeof(run->reason),
					 "%d sessions of the %s are still open on %s", left,
					 request_is_hold(&run->request) ? "hold" : "run", run->request.target_name);
		else if (left > 0)
			snprintf(run->reason, sizeof(run->reason),
					 "%d sessions of the %s are still there: pid %s",
					 left, request_is_hold(&run->request) ? "hold" : "run", pids_text(run));
		else if (stalled > 0)
			snprintf(run->reason, sizeof(run->reason),
					 "%d stalled logins of the hold are still there: pool_exhaust_slots counts them",
					 stalled);
		else if (sub_runs > 0)
			snprintf(run->reason, sizeof(run->reason), "%d runs that it has started are still under way", sub_runs);
		if (run->pool != NULL)
			check_count(run, "sessions left at the end", 0, left,
						"end them with pg_terminate_backend: the reason above has their pids");
		loop_close(&run->loop);
		identity_drop(run);
		phase_end(run);
	}
	PG_CATCH();
	{
		error_catch(run->context, LOG);
		left++;
		snprintf(run->reason, sizeof(run->reason),
				 "the clean-up failed, and the server log says why; role %s may be left",
				 roles_text(run));
	}
	PG_END_TRY();
	if (left > 0 || stalled > 0 || sub_runs > 0)
		run->verdict = VERDICT_FAIL;
}

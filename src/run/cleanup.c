/*
 * cleanup.c
 *		The end of every run, however its story ended: let go of every
 *		connection, prove that nothing is left, drop the role.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"

#include "cleanup.h"
#include "extension.h"
#include "identity.h"
#include "observe/census.h"

#define CLOSE_TIMEOUT_MS	(10 * 1000) /* to end by themselves */
#define KILL_TIMEOUT_MS		(5 * 1000)	/* after that */
#define TURN_MS				2
#define PIDS_SHOWN			10

/* Turns the loop until the run's role has no session, or the time is over. */
static int
wait_for_silence(Run *run, int timeout_ms)
{
	uint64		end_us = loop_now_us() + (uint64) timeout_ms * 1000;
	int			left;

	while ((left = census_role_sessions(run->role, NULL, 0)) > 0 && loop_now_us() < end_us)
		loop_turn(&run->loop, TURN_MS);
	return left;
}

static void
terminate_sessions(Oid role)
{
	int		   *pids = palloc(sizeof(int) * MaxConnections);
	int			n = census_role_sessions(role, pids, MaxConnections);

	for (int i = 0; i < n; i++)
		kill(pids[i], SIGTERM);
	pfree(pids);
}

static char *
pids_text(Oid role)
{
	int			pids[PIDS_SHOWN];
	int			n = census_role_sessions(role, pids, PIDS_SHOWN);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < Min(n, PIDS_SHOWN); i++)
		appendStringInfo(&text, "%s%d", i > 0 ? ", " : "", pids[i]);
	if (n > PIDS_SHOWN)
		appendStringInfoString(&text, ", ...");
	return text.data;
}

/* Lets go of every connection, also of those whose login is still under way. */
static void
close_sessions(Run *run)
{
	uint64		end_us = loop_now_us() + (uint64) CLOSE_TIMEOUT_MS * 1000;

	if (run->pool != NULL)
	{
		/* A login cut off half-way could turn up after the proof. */
		pool_cancel(run->pool);
		while (run->pool->stats.opening > 0 && loop_now_us() < end_us)
			loop_turn(&run->loop, TURN_MS);
		pool_close(run->pool);
	}
	if (run->loop.open && OidIsValid(run->role) && wait_for_silence(run, CLOSE_TIMEOUT_MS) > 0)
	{
		terminate_sessions(run->role);
		wait_for_silence(run, KILL_TIMEOUT_MS);
	}
}

/*
 * Closes, proves that nothing is left, drops the role.  A clean-up that cannot
 * be proved fails the run, whatever the story said.
 */
void
clean_up(Run *run)
{
	volatile int left = 0;

	PG_TRY();
	{
		phase(run, "clean up");
		close_sessions(run);
		if (OidIsValid(run->role))
			left = census_role_sessions(run->role, NULL, 0);
		if (left > 0)
			snprintf(run->reason, sizeof(run->reason),
					 "%d sessions of the run are still there: pid %s",
					 left, pids_text(run->role));
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
				 run->role_name);
	}
	PG_END_TRY();
	if (left > 0)
		run->verdict = VERDICT_FAIL;
}

/*
 * query.c
 *		What the server and the target report: by SQL, in the runner's own
 *		transactions, from the server's memory, and from the probe.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"

#include "load/failure.h"
#include "load/target/probe.h"
#include "observe/slots/census.h"
#include "observe/slots/limit.h"
#include "sql/statement.h"
#include "story/story.h"

#define REFRESH_TIMEOUT_MS	(10 * 1000)
#define RELEASE_EACH_MS		3	/* more for each session that the run has had */

/*
 * Returns the first column of the first row as text, palloc'd in the current
 * memory context; "" if that is NULL or there is no row.  "@" in the query is the
 * schema of the extension; all other names must be qualified.
 */
char *
query_text(Run *run, const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	Extension	extension;
	char	   *text;

	transaction_begin();
	extension_require(&extension);
	statement_run(&extension, sql, SPI_OK_SELECT, 0, NULL, NULL);
	text = MemoryContextStrdup(context, SPI_processed > 0 ? statement_text(0, 1) : "");
	transaction_commit();
	MemoryContextSwitchTo(context);
	return text;
}

/*
 * Returns how many client sessions of the role pg_stat_activity shows: the
 * figure that other tools would see.
 */
int
sessions_in_activity(Run *run, Oid role)
{
	return atoi(query_text(run, psprintf("SELECT count(*) FROM pg_catalog.pg_stat_activity "
										 "WHERE usesysid = %u AND backend_type = 'client backend'", role)));
}

/*
 * Returns how many sessions of the first service pg_stat_activity shows, and the state of its
 * pool at that moment.  A login that is under way belongs to the pool only when it is
 * through, so there may be more sessions than connections until then.
 */
int
sessions_and_state(Run *run, PoolState *truth)
{
	pool_read_state(run->pool, truth);
	return sessions_in_activity(run, run->parties[0].role);
}

/* How long the pool may take to report its state. */
static int
refresh_ms(const Run *run)
{
	const Probe *probe = run->parties[0].probe;

	return REFRESH_TIMEOUT_MS + (probe != NULL ? probe_wait_ms(probe) : 0);
}

/*
 * Returns the state of the run's pool now.  Ends the run as invalid if the target
 * does not report it any more.
 */
PoolState
run_pool_state(Run *run)
{
	const RunParty *party = &run->parties[0];
	uint64		since_us = loop_now_us();
	bool		fresh = false;
	PoolState	truth;

	poll_until(run, (fresh = pool_refresh(run->pool, since_us)) ||
			   (party->probe->state == PROBE_LOST && !party->probe->returns), run_patience(run, refresh_ms(run)));
	if (!fresh)
		run_end(run, VERDICT_INVALID, "%s does not report its state any more, see its log: %s", run->request.target_name,
				connect_failure_text(&party->probe->failure));
	pool_read_state(run->pool, &truth);
	return truth;
}

/* A session that was refused or released holds its slot until it exits: waits until it has. */
void
run_settle(Run *run)
{
	poll_until(run, run_pool_state(run).ours <= run->pool->stats.held,
			   release_ms(run) + run->pool->stats.peak_held * RELEASE_EACH_MS);
}

/*
 * Returns how many connections were in use at the most.  A pooler may grant a
 * connection before the client that had it has the end of its query, so there the
 * count of the pooler is returned.
 */
int
run_peak(Run *run)
{
	return run->target->counts_itself ? run_pool_state(run).said_peak : run->pool->stats.peak_held;
}

/*
 * Returns how many sessions of the service there are by pg_stat_activity, or by the
 * console of a pooler; of a target that cannot be asked, as many as it holds.
 */
int
sessions_seen(Run *run, RunParty *party)
{
	if (party->endpoint == NULL)
		return sessions_in_activity(run, party->role);
	if (party->probe == NULL)
		return party->pool->stats.held;
	(void) run_pool_state(run);
	return party->probe->figures.ours;
}

/* Returns how many more connections the role can open to the runner's database. */
int
run_headroom(const Run *run, Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	int			headroom;

	StartTransactionCommand();
	headroom = limit_headroom(role, MyDatabaseId);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return headroom;
}

/*
 * Terminates every session of the role, also in the middle of a statement.  Returns
 * their pids, palloc'd, and in "n" how many there are.
 */
int *
sessions_terminate(Oid role, int *n)
{
	int		   *pids = palloc(sizeof(int) * MaxConnections);

	*n = Min(census_role_sessions(role, pids, MaxConnections), MaxConnections);
	for (int i = 0; i < *n; i++)
		kill(pids[i], SIGTERM);
	return pids;
}

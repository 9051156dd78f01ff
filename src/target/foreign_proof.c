/*
 * foreign_proof.c
 *		The proof that a run has left nothing on its foreign servers.
 */
#include "postgres.h"

#include "target/foreign.h"

#define LOGIN_WAIT_MS	(5 * 1000)
#define PROOF_WAIT_MS	(10 * 1000)
#define PROOF_EACH_MS	3		/* more for each session that it had at the most */
#define GONE_WAIT_MS	1000
#define TURN_MS			5

/* A probe that was lost logs in again. */
static bool
probe_returns(Run *run, RunParty *party, uint64 end_us)
{
	Probe	   *probe = party->probe;

	if (probe->state == PROBE_READY)
		return true;
	while (probe->session.state != SESSION_UNUSED && loop_now_us() < end_us)
		loop_turn(&run->loop, TURN_MS);
	if (probe->session.state != SESSION_UNUSED)
		return false;
	probe_open(probe, &run->loop, &party->endpoint->console, run_patience(run, LOGIN_WAIT_MS));
	while (probe->state == PROBE_CONNECTING && loop_now_us() < end_us)
		loop_turn(&run->loop, TURN_MS);
	return probe->state == PROBE_READY;
}

/*
 * May the target say it yet?  Where thousands of sessions end at once, one that asks waits for
 * its turn, and so for its slot, as long as they do.
 */
static bool
may_answer_later(const Probe *probe)
{
	return probe->failure.end == CONNECT_TIMED_OUT || probe->failure.end == CONNECT_REFUSED;
}

/* Has it been silent?  Then it is asked once more, and not waited for. */
static bool
was_silent(const Run *run, const Probe *probe)
{
	return run->target_gone || (probe->state == PROBE_LOST && machine_is_silent(&probe->failure));
}

/* How many sessions of the party its target shows in the end; -1: it does not say. */
static int
party_left(Run *run, RunParty *party)
{
	Probe	   *probe = party->probe;
	int			peak = party->pool != NULL ? party->pool->stats.peak_held : 0;
	uint64		since_us = loop_now_us();
	uint64		end_us = since_us + (uint64) run_patience(run, PROOF_WAIT_MS + peak * PROOF_EACH_MS) * 1000;
	int			left = -1;

	do
	{
		if (was_silent(run, probe))
			end_us = Min(end_us, loop_now_us() + GONE_WAIT_MS * 1000);
		if (!probe_returns(run, party, end_us))
		{
			/* A target that accepts no connections has no sessions. */
			if (probe->state == PROBE_LOST && probe->failure.end == CONNECT_BROKEN)
				return 0;
			if (!may_answer_later(probe))
				return left;
		}
		else if (probe_refresh(probe, since_us))
		{
			left = probe->figures.ours + probe->figures.beside;
			since_us = loop_now_us();
		}
		else
			loop_turn(&run->loop, TURN_MS);
	} while (left != 0 && loop_now_us() < end_us);
	return left;
}

/*
 * Returns how many sessions of the run its targets still show, after a wait for
 * them to go; -1 if one does not say.  To be called when all are closed.
 */
int
foreign_proof_left(Run *run)
{
	int			sum = 0;

	for (int i = 0; i < run->nparties; i++)
	{
		RunParty   *party = &run->parties[i];
		int			left;

		if (party->probe == NULL || party->probe->heard_us == 0)
			continue;
		left = party_left(run, party);
		if (left < 0)
			return left;
		sum += left;
	}
	return sum;
}

/* The probes log out. */
void
foreign_proof_close(Run *run)
{
	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].probe != NULL)
			probe_close(run->parties[i].probe);
}

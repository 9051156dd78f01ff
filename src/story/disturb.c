/*
 * disturb.c
 *		Chaos in stories: when it may do what, what it excuses, and what it did.
 *
 * A claim that must hold whatever happens is checked as ever.  One that chaos
 * breaks by itself allows for as much as chaos has done, and not for more.
 */
#include "postgres.h"

#include "story/story.h"

#define NOTICE_TIMEOUT_MS	(10 * 1000)

/* Begins to disturb the run's sessions, if option "chaos" asks for it. */
void
run_begin_chaos(Run *run)
{
	const Options *options = &run->options;

	if (options->chaos > 0)
		chaos_begin(&run->chaos, &run->clock, options->chaos, options->seed);
}

/*
 * From here on only these kinds of acts happen, a set of 1 << ChaosKind: the others
 * would break what this part of the story claims.  When this returns the sessions
 * concerned have noticed what chaos did before.
 */
void
run_disturb(Run *run, int kinds)
{
	chaos_allow(&run->chaos, kinds);
	wait_until(run, !chaos_unnoticed(&run->chaos), run_patience(run, NOTICE_TIMEOUT_MS));
}

/* Returns how much longer than usual, in ms, the story must wait under chaos. */
int
run_chaos_ms(const Run *run)
{
	return run->options.chaos > 0 ? STALL_MAX_MS + DELAY_MAX_MS : 0;
}

/* Returns how many of the operations that failed may have done so because chaos ended their session. */
uint64
operations_excused(const RunParty *party, uint64 failed)
{
	return Min(failed, chaos_sessions_ended(&party->chaos_counts));
}

/* Reports what it did in a phase of its own, if there was chaos. */
void
run_report_chaos(Run *run)
{
	const uint64 *done = run->chaos.counts.done;

	if (run->chaos.clock == NULL || run->nphases >= PHASES_MAX - 1)
		return;
	phase(run, "chaos");
	phase_end(run);
	if (chaos_acts_done(&run->chaos.counts) == 0)
		phase_note(run, "disturbed no session: the run was too short, or allowed no act   seed " INT64_FORMAT,
				   run->options.seed);
	else
		phase_note(run, UINT64_FORMAT " terminated, " UINT64_FORMAT " dropped, " UINT64_FORMAT " stalled, "
				   UINT64_FORMAT " delayed   seed " INT64_FORMAT,
				   done[CHAOS_TERMINATE], done[CHAOS_DROP], done[CHAOS_STALL], done[CHAOS_DELAY],
				   run->options.seed);
}

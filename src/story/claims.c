/*
 * claims.c
 *		The claims that several stories make.
 *
 * "part" stands before the name of a check where a story makes the claim more
 * than once: "queue: timed out"; NULL: nothing does.
 */
#include "postgres.h"

#include "story/story.h"

/* Returns the name of a check, palloc'd if there is a part. */
const char *
claim(const char *part, const char *name)
{
	return part != NULL ? psprintf("%s: %s", part, name) : name;
}

/* "peak", the most connections in use at once, is within the capacity of the pool. */
void
check_peak(Run *run, const char *part, int peak)
{
	check_at_most(run, claim(part, "peak in use"), run_capacity(run), peak, "",
				  "the pool handed out more than its capacity");
}

/* No request was granted after one that was made later. */
void
check_fifo(Run *run, const char *part, const GrantOrder *order)
{
	check_count(run, claim(part, "granted after a later request"), 0, order->overtaken,
				"the queue is not first in, first out");
}

/* Every request has come to one of its ends. */
void
check_all_ended(Run *run, const char *part, const Tally *tally)
{
	check_count(run, claim(part, "requests without an end"), 0,
				tally->asked - tally->granted - tally_not_granted(tally),
				"a request waits for ever: no release has served it, and no timeout ended it");
}

/* As many requests as expected timed out. */
void
check_timed_out(Run *run, const char *part, int64 expected, const Tally *tally)
{
	check_count(run, claim(part, "timed out"), expected, tally->timed_out,
				tally->timed_out < expected
				? "a request waits longer than pool_timeout_ms, or was granted by a pool that is full"
				: "more requests than there are in the queue timed out: the pool does not refuse at max_waiting, or did not grant what was free");
}

/* Those that timed out did so neither before pool_timeout_ms nor much later; no check if none did. */
void
check_timeout_times(Run *run, const char *part, const Tally *tally)
{
	const Options *options = &run->options;

	if (tally->timed_out == 0)
		return;
	check_at_least(run, claim(part, "earliest timeout"), options->pool_timeout_ms,
				   tally->shortest_timeout_us / 1000.0, "ms",
				   "a request timed out before pool_timeout_ms");
	check_at_most(run, claim(part, "latest timeout"), options->pool_timeout_ms + options->tolerance_ms,
				  tally->longest_timeout_us / 1000.0, "ms",
				  "a request waited longer than pool_timeout_ms, or the machine is overloaded");
}

/*
 * The ledger rose by the refusals that the clients saw; an attempt that was given up
 * without an answer may have been refused, too.  Skipped where another server refuses.
 */
void
check_ledger(Run *run, const char *part, int64 refused, int64 unanswered, int64 rise)
{
	const char *name = claim(part, "refusals in the ledger");

	if (run->target->ledger)
		check_rise(run, name, refused, unanswered, rise,
				   "the ledger and the clients counted different refusals: see pool_exhaust_refused_services; with log_min_messages = panic it counts none");
	else
		check_skip(run, name, "the ledger counts what this server refuses");
}

/* No session of the run is left, by the target's own count. */
void
check_sessions_left(Run *run, const char *name, int left)
{
	check_count(run, name, 0, left,
				"sessions of the run are still there: pool_exhaust_backends shows their pids");
}

/* Ends a phase in which so many sessions of the run were closed: none of it is left. */
void
check_closed(Run *run, const char *name, int closed)
{
	int			left;

	run_settle(run);
	phase_end(run);
	left = run_pool_state(run).ours;
	phase_note(run, "%d closed in %.2f s, %s left", closed, run->phases[run->nphases - 1].elapsed_us / 1e6,
			   left > 0 ? psprintf("%d", left) : "nothing");
	check_sessions_left(run, name, left);
}

/* Every operation has released its connection. */
void
check_all_released(Run *run, const char *part, int in_use)
{
	check_count(run, claim(part, "connections not released"), 0, in_use,
				"an operation kept its connection: check every way out of it for one that does not release");
}

/* A load with bursts: every request ended, enough succeeded, and none took too long. */
void
check_load(Run *run, const char *part, const Tally *tally, uint64 never_asked)
{
	const Options *options = &run->options;
	const RunParty *party = &run->parties[0];

	check_all_ended(run, part, tally);
	check_at_least(run, claim(part, "success"), options->success_percent,
				   percent_of(tally->succeeded, tally->asked + never_asked - operations_excused(party, tally->failed)), "%",
				   "requests timed out, were refused or failed: see timed_out and refused in pool_exhaust_samples");
	check_at_most(run, claim(part, "slowest response"), options->response_limit_ms + chaos_wait_ms(&party->chaos_counts),
				  histogram_max_ms(&tally->response), "ms",
				  "the queue grows longer than clients will wait: a shorter pool_timeout_ms or max_waiting sheds load");
}

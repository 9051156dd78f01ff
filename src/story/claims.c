/*
 * claims.c
 *		The claims that several stories make.
 *
 * "part" stands before the name of a check where a story makes the claim more
 * than once: "queue: timed out"; NULL: nothing does.
 */
#include "postgres.h"

#include "observe/slots/ledger.h"
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
				  "the pool handed out more than its capacity: of a pooler see pool_size and its reserve");
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
	int64		limit_ms = options->pool_timeout_ms + options->tolerance_ms;
	int64		over_us = (int64) tally->longest_timeout_us - limit_ms * 1000;

	if (tally->timed_out == 0)
		return;
	check_at_least(run, claim(part, "earliest timeout"), options->pool_timeout_ms,
				   tally->shortest_timeout_us / 1000.0, "ms",
				   "a request timed out before pool_timeout_ms");
	check_at_most(run, claim(part, "latest timeout"), limit_ms, tally->longest_timeout_us / 1000.0, "ms",
				  "a request waited longer than pool_timeout_ms, or the machine is overloaded");
	if (over_us > 0)
		check_was_of_delay(run, over_us);	/* which ends waits as late as it does all else */
}

/*
 * Each request to the pools of the run has come to one end, and no end was counted
 * that no request had.  To be called when they are closed.
 */
void
check_attempts(Run *run)
{
	uint64		asked = 0;
	PoolStats	sum = {0};
	int64		left;

	for (int i = 0; i < run->nparties; i++)
	{
		const PoolStats *stats = &run->parties[i].pool->stats;

		asked += run->parties[i].pool->asked;
		sum.granted += stats->granted;
		sum.refused += stats->refused;
		sum.timed_out += stats->timed_out;
		sum.failed += stats->failed;
		sum.canceled += stats->canceled;
	}
	left = (int64) (asked - sum.granted - sum.refused - sum.timed_out - sum.failed - sum.canceled);
	check_count(run, "attempts not accounted for", 0, left,
				psprintf(UINT64_FORMAT " attempts, but " UINT64_FORMAT " granted + " UINT64_FORMAT " refused + "
						 UINT64_FORMAT " timed out + " UINT64_FORMAT " failed + " UINT64_FORMAT " canceled: %s; this is a bug of pool_exhaust",
						 asked, sum.granted, sum.refused, sum.timed_out, sum.failed, sum.canceled,
						 left > 0 ? "some came to no end" : "some ends were counted twice"));
	run->checks[run->nchecks - 1].of_time = false;	/* however long they took */
}

/*
 * The ledger rose by the refusals that the clients saw; an attempt that was given up
 * without an answer may have been refused, too.  Skipped where another server refuses,
 * and where the ledger was blind: then the run is invalid, unless other claims fail.
 */
void
check_ledger(Run *run, const char *part, int64 refused, int64 unanswered, int64 rise)
{
	const char *name = claim(part, "refusals in the ledger");

	if (run->target->ledger && rise < refused && ledger_was_blind(REFUSED_BACKEND, run->started_at))
	{
		run->ledger_blind = true;
		check_skip(run, name, LEDGER_BLIND);
	}
	else if (run->target->ledger)
		check_rise(run, name, refused, unanswered, rise,
				   rise < refused
				   ? psprintf(INT64_FORMAT " refusals that clients saw are not in the ledger: it counts those that are logged, see log_min_messages",
							  refused - rise)
				   : psprintf(INT64_FORMAT " refusals in the ledger were seen by no client of the run: see pool_exhaust_refused_services",
							  rise - refused - unanswered));
	else
		check_skip(run, name, "the ledger counts what this server refuses");
}

/* The same, of all pools of the run since those were its counts. */
void
check_logins_since(Run *run, const char *part, const LoginCounts *before)
{
	LoginCounts now = run_logins(run);

	check_ledger(run, part, now.refused - before->refused, now.unanswered - before->unanswered,
				 now.ledger - before->ledger);
}

/* The healer has ended the leaks of the run, and no other session of it. */
void
check_healed(Run *run, const char *name, int leaks, int ended)
{
	check_count(run, name, leaks, ended,
				ended < leaks
				? psprintf("%d leaks were left: see pool_exhaust_heal(), and the server log for what the healer did", leaks - ended)
				: psprintf("%d sessions were ended that are no leaks: see pool_exhaust_heals", ended - leaks));
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
				   psprintf("of " UINT64_FORMAT " requests " UINT64_FORMAT " timed out, " UINT64_FORMAT " were refused, " UINT64_FORMAT " got no connection otherwise, and " UINT64_FORMAT " operations failed: see pool_exhaust_samples for when",
							tally->asked, tally->timed_out, tally->refused, tally->unserved, tally->failed));
	check_at_most(run, claim(part, "slowest response"), options->response_limit_ms + chaos_wait_ms(&party->chaos_counts),
				  histogram_max_ms(&tally->response), "ms",
				  "the queue grows longer than clients will wait: a shorter pool_timeout_ms or max_waiting sheds load");
}

/*
 * backpressure_check.c
 *		The claims on answers under load: refusals, liveness, and what needs no
 *		connection.
 */
#include "postgres.h"

#include "scenario/backpressure.h"

static const char *
or_none(const char *text)
{
	return text != NULL ? text : "none";
}

/* What was served, and what was neither served nor refused. */
static void
check_answers(const Backpressure *bp)
{
	Run		   *run = bp->run;
	const HttpTally *tally = &bp->load->tally;

	if (bp->own)
	{
		check_count(run, "served by a full pool", 0, tally->served,
					"the pool handed out more than its capacity");
		check_at_least(run, "429 at the caller's own limit", 1, tally->refused_as[HTTP_REFUSED_QUOTA], "",
					   "a refusal by the caller's own limit must answer 429, and one by a limit shared with others 503");
	}
	else
		check_at_least(run, "requests served under load", 1, tally->served, "",
					   "the service serves no request while there are too many: a full pool must still be used");
	check_count(run, "server errors (5xx but 503)", 0, tally->server_errors,
				psprintf("an error that was not caught, or a proxy that gave up: catch the pool's timeout and answer 503 with Retry-After; the first: %s",
						 or_none(tally->first_error)));
	check_count(run, "answers of another kind", 0, tally->strange,
				psprintf("a client cannot act on it: refuse with 503 or 429; the first: %s", or_none(tally->first_error)));
	check_count(run, "requests without an answer", 0, tally->unanswered,
				psprintf("nothing came within %d ms: the queue in front of the workers, or of the pool, has no limit in time; the first: %s",
						 deadline_ms(bp), or_none(tally->first_failure)));
	check_count(run, "connections that broke", 0, tally->broken,
				psprintf("the service, or what is before it, drops clients instead of refusing them; the first: %s",
						 or_none(tally->first_failure)));
	check_at_most(run, "slowest answer", bp->response_limit_ms, histogram_max_ms(&tally->response), "ms",
				  "clients wait too long: a shorter pool timeout, or a limit on the requests that wait, refuses them in time");
}

/* What a refusal says. */
static void
check_refusals(const Backpressure *bp)
{
	Run		   *run = bp->run;
	const HttpTally *tally = &bp->load->tally;
	StringInfoData formats;

	if (tally->refused == 0)
	{
		check_skip(run, "refusals without Retry-After", "no request was refused with 503 or 429");
		check_skip(run, "status of the retry", "no request was refused with 503 or 429");
	}
	else
	{
		check_count(run, "refusals without Retry-After", 0, tally->unpromising,
					"clients will come back at once, all of them: send Retry-After, at least 1");
		check_at_most(run, "longest Retry-After", run->options.recovery_limit_ms / 1000.0,
					  tally->longest_retry_after_s, "s", "clients will not wait for that long: see option recovery_limit_ms");
	}
	if (tally->nformats == 0)
		return;
	check_count(run, "errors as HTML pages", 0, tally->pages,
				"programs read them: handle the error, and answer with the format of your other errors");
	initStringInfo(&formats);
	for (int i = 0; i < tally->nformats; i++)
		appendStringInfo(&formats, "%s%s", i > 0 ? " and " : "", tally->formats[i]);
	check_text(run, "one format of errors", tally->formats[0], formats.data,
			   "clients must know each of them: give all errors the same content type and the same keys");
}

/* Returns the answers to a probe, for a check that failed, palloc'd. */
static char *
probe_text(const char *meaning, const HttpTally *tally)
{
	return psprintf("%s; it answered: %s%s%s", meaning, http_tally_text(tally),
					tally->first_failure != NULL ? ", " : "",
					tally->first_failure != NULL ? tally->first_failure : "");
}

/* Liveness is answered, or a supervisor would restart a service that is merely busy. */
static void
check_liveness(const Backpressure *bp)
{
	const HttpTally *tally;

	if (bp->liveness == NULL)
	{
		check_skip(bp->run, "liveness: not 200", "the foreign server has no option liveness_path");
		return;
	}
	tally = &bp->liveness->tally;
	check_count(bp->run, "liveness: not 200", 0, http_tally_trouble(tally),
				probe_text("a supervisor restarts a service that is merely busy: it must not need the database, nor a worker that waits for it",
						   tally));
	check_at_most(bp->run, "liveness: slowest answer", bp->run->options.latency_limit_ms,
				  histogram_max_ms(&tally->response), "ms",
				  "all workers wait for the database: limit how many may, so that some are left");
}

/* What does not need the database is as it was. */
static void
check_other(const Backpressure *bp)
{
	const HttpTally *tally;

	if (bp->other == NULL)
	{
		check_skip(bp->run, "other path: not served", "the foreign server has no option other_path");
		return;
	}
	tally = &bp->other->tally;
	check_count(bp->run, "other path: not served", 0, http_tally_trouble(tally),
				probe_text("what needs no connection fails for lack of one", tally));
	check_at_most(bp->run, "other path: p99", bp->other_p99_ms + bp->run->options.tolerance_ms,
				  histogram_ms(&tally->response, 0.99), "ms",
				  "what needs no connection waits behind what does: all workers are taken, limit how many may wait for the pool");
}

/* All claims on what was answered under load. */
void
backpressure_check(const Backpressure *bp)
{
	check_answers(bp);
	check_refusals(bp);
	check_liveness(bp);
	check_other(bp);
}

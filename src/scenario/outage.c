/*
 * outage.c
 *		Scenario recovery on a foreign server: somebody restarts it, or the server
 *		behind it, while clients work.  Do they come back, and how fast?
 *
 * A run cannot restart what others use.  So it waits for whoever asked for it to
 * do that, and measures from the first operation that the outage broke.
 */
#include "postgres.h"

#include "load/target/probe.h"
#include "scenario/outage.h"

#define SETTLE_TIMEOUT_MS	(10 * 1000)
#define CLIENTS				2

/* An operation is as fast as before if it takes no longer than so many times as long. */
#define BASELINE_FACTOR	3
#define BASELINE_MS		50

typedef struct Outage
{
	Run		   *run;
	Load	   *load;
	double		baseline_ms;	/* response of an operation, when all was well */
	uint64		broken;			/* operations that failed, or found no connection, till then */
	uint64		begun_us;		/* the first of them in the outage */
	uint64		succeeded;		/* operations by then */
} Outage;

static uint64
outage_broken(const Outage *outage)
{
	const Tally *tally = &outage->load->calm;

	return tally->failed + tally_sent_away(tally);
}

/* Why the last one broke; "a statement failed" is all that an operation knows. */
static const char *
outage_reason(const Run *run)
{
	const ConnectResult *failure = &run->pool->last_failure;

	return failure->message[0] == '\0' ? "a statement failed"
		: psprintf("%s%s%s", failure->sqlstate, failure->sqlstate[0] ? " " : "", failure->message);
}

static void
baseline(Outage *outage)
{
	Run		   *run = outage->run;
	LoadConfig	config = load_of(run, &run->parties[0]);
	int64		operations = run->options.operations;

	phase(run, "baseline");
	load_work(run, &config, run->options.work_ms);
	config.clients = CLIENTS;
	outage->load = load_create(&config);
	load_begin(outage->load);
	wait_until(run, outage->load->calm.succeeded >= operations, SETTLE_TIMEOUT_MS);
	phase_end(run);
	if (outage->load->calm.succeeded < operations || outage_broken(outage) > 0)
		run_end(run, VERDICT_INVALID, "only " UINT64_FORMAT " of " INT64_FORMAT " operations succeeded to begin with: %s",
				outage->load->calm.succeeded, operations, outage_reason(run));
	outage->baseline_ms = histogram_ms(&outage->load->calm.response, 0.50);
	phase_note(run, UINT64_FORMAT " operations   %s", outage->load->calm.succeeded,
			   latency_text(&outage->load->calm.response));
}

static void
wait_for_outage(Outage *outage)
{
	Run		   *run = outage->run;
	Phase	   *p = phase(run, "outage");

	run_say(run, "%-8s waiting for %s, or the server behind it, to be restarted", p->name, run->request.target_name);
	outage->broken = outage_broken(outage);
	wait_until(run, outage_broken(outage) > outage->broken, run->options.outage_ms);
	outage->begun_us = loop_now_us();
	outage->succeeded = outage->load->calm.succeeded;
	phase_end(run);
	if (outage_broken(outage) == outage->broken)
		run_end(run, VERDICT_INVALID, "nothing broke within " INT64_FORMAT " ms (option outage_ms): restart %s, or the server behind it, while the run waits for that",
				run->options.outage_ms, run->request.target_name);
	phase_note(run, "after %.2f s: %s", p->elapsed_us / 1e6, outage_reason(run));
}

/* An operation has succeeded again; and "fast": none takes longer than before. */
static bool
outage_is_over(const Outage *outage, bool fast)
{
	const Load *load = outage->load;

	return load->calm.succeeded > outage->succeeded &&
		(!fast || load->last_us / 1000.0 <= outage->baseline_ms * BASELINE_FACTOR + BASELINE_MS);
}

static void
recover(Outage *outage)
{
	Run		   *run = outage->run;
	int64		limit_ms = run->options.recovery_limit_ms;
	double		first_ms;
	double		normal_ms;

	phase(run, "recover");
	wait_until(run, outage_is_over(outage, false), limit_ms);
	first_ms = (loop_now_us() - outage->begun_us) / 1000.0;
	wait_until(run, outage_is_over(outage, true), limit_ms);
	normal_ms = (loop_now_us() - outage->begun_us) / 1000.0;
	phase_end(run);
	phase_figure(run, "first_success_ms", first_ms);
	phase_note(run, UINT64_FORMAT " operations broke; first success after %.2f s, as fast as before after %.2f s",
			   outage_broken(outage) - outage->broken, first_ms / 1000, normal_ms / 1000);
	check_at_most(run, "first success after the outage", limit_ms, first_ms, "ms",
				  "no client got a connection again: see server_login_retry of PgBouncer, and the log of the target");
	check_at_most(run, "as fast as before the outage", limit_ms, normal_ms, "ms",
				  "operations stay slower than before");
}

/* All is as it was, by the clients and by the target. */
static void
finish(Outage *outage)
{
	Run		   *run = outage->run;
	int64		operations = run->options.operations;
	uint64		broken = outage_broken(outage);
	uint64		succeeded = outage->load->calm.succeeded;
	PoolState	truth;

	phase(run, "after");
	wait_until(run, outage->load->calm.succeeded >= succeeded + operations, SETTLE_TIMEOUT_MS);
	succeeded = outage->load->calm.succeeded - succeeded;
	load_end(run, outage->load, SETTLE_TIMEOUT_MS);
	poll_until(run, (truth = run_pool_state(run)).said_in_use == 0, SETTLE_TIMEOUT_MS);
	phase_end(run);
	phase_note(run, UINT64_FORMAT " operations succeeded", succeeded);
	check_count(run, "operations that broke afterwards", 0, outage_broken(outage) - broken, outage_reason(run));
	check_at_least(run, "operations that succeeded afterwards", operations, succeeded, "", outage_reason(run));
	check_count(run, "in use by the pooler's own count", 0, truth.said_in_use,
				"connections were lost in the outage: see sv_active in SHOW POOLS");
}

void
outage_play(Run *run)
{
	Outage	   *outage = palloc0(sizeof(Outage));

	outage->run = run;
	run_disturb(run, CHAOS_NONE);	/* whatever breaks is the outage's doing */
	run->parties[0].probe->returns = true;
	baseline(outage);
	wait_for_outage(outage);
	recover(outage);
	if (!check_failed(run))
		finish(outage);
}

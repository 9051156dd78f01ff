/*
 * loads.c
 *		The loads of stories: what their clients do, and what became of them.
 */
#include "postgres.h"

#include "load/failure.h"
#include "load/target/endpoint.h"
#include "story/story.h"

/* An operation that fails in the server, as bad input does. */
#define FAILING_SQL "SELECT 1 / 0"

/* Returns how many connections an application-style pool of the run can grant at once. */
int
run_capacity(const Run *run)
{
	return (int) (run->options.pool_size + run->options.max_overflow);
}

/* ERROR that says which options do, and what to do about it. */
void
options_contradict(const char *hint, const char *fmt,...)
{
	char		text[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("options contradict each other: %s", text),
			 errhint("%s", hint)));
}

/* ERROR if a run that takes so long at the least would be cut off. */
void
require_time_for(const Options *options, int64 ms)
{
	if (ms >= options->timeout_ms)
		options_contradict("Raise timeout_ms, and setting pool_exhaust.max_run_time, or make its parts shorter.",
						   "the run takes more than " INT64_FORMAT " ms, and may take " INT64_FORMAT,
						   ms, options->timeout_ms);
}

/* Returns a load on the pool of a service, with nothing to do yet. */
LoadConfig
load_of(Run *run, const RunParty *party)
{
	const Options *options = &run->options;

	return (LoadConfig)
	{
		.pool = party->pool,
		.clock = &run->clock,
		.failing_sql = FAILING_SQL,
		.failing_percent = options->failing_percent,
		.seed = options->seed,
		.leak_on_error = options->fault == FAULT_LEAK_ON_ERROR,
	};
}

/*
 * Returns a schedule of option "rate" over that time.  Its bursts, if it has
 * any, are of twice that rate, and a fifth of the time.
 */
Arrival
load_arrival(const Run *run, int64 ms)
{
	const Options *options = &run->options;

	return (Arrival)
	{
		.kind = (ArrivalKind) options->arrivals,
		.rate = options->rate,
		.burst_rate = options->rate * 2,
		.duration_us = ms * 1000,
		.burst_us = ms * 1000 / 20,
		.burst_every_us = ms * 1000 / 4,
	};
}

/*
 * Gives the load's operations their work: the workload that the caller chose,
 * with a connection kept that long afterwards, or else a sleep of that length in
 * the server; the least that there is for 0.
 */
void
load_work(Run *run, LoadConfig *config, int64 ms)
{
	const char *workload = run->options.workload;

	if (workload[0] != '\0')
	{
		config->sql = workload;
		config->hold_ms = ms;
	}
	else if (ms > 0)
		config->sql = psprintf("SELECT pg_catalog.pg_sleep(%.3f)", ms / 1000.0);
	else
		config->sql = "SELECT 1";
}

/*
 * Creates a load and begins it.  It is in the current memory context, which must
 * outlive the loop.  If it is known how many operations it has, they are the
 * phase's progress.
 */
Load *
load_start(Run *run, const LoadConfig *config)
{
	Load	   *load = load_create(config);
	int			total = config->arrival != NULL ? arrival_expected(config->arrival)
		: config->clients * config->operations;

	if (total > 0)
		run_progress(run, &load->ended, total);
	if (config->arrival != NULL)
		phase_lasts(run, config->arrival->duration_us / 1000);
	load_begin(load);
	return load;
}

/*
 * Begins clients of the n-th service that do so many operations of that length
 * each; 0: until they are stopped.
 */
Load *
clients_start(Run *run, int n, int clients, int64 operations, int64 ms)
{
	LoadConfig	config = load_of(run, &run->parties[n]);

	load_work(run, &config, ms);
	config.clients = clients;
	config.operations = (int) operations;
	return load_start(run, &config);
}

/* Clients arrive at these times, each for one operation; returns when all are done. */
Load *
arrivals_play(Run *run, const Arrival *arrival)
{
	const Options *options = &run->options;
	LoadConfig	config = load_of(run, &run->parties[0]);
	Load	   *load;

	load_work(run, &config, options->work_ms);
	config.arrival = arrival;
	load = load_start(run, &config);
	wait_until(run, !load->coming, (int64) (arrival->duration_us / 1000) + settle_ms(run));
	load_end(run, load, options->pool_timeout_ms + options->response_limit_ms);
	return load;
}

/* The same at these rates a second, for sustained_ms, with the bursts that the options say. */
Load *
bursts_play(Run *run, double rate, double burst_rate)
{
	const Options *options = &run->options;

	return arrivals_play(run, &(Arrival) {
		.kind = ARRIVAL_BURST,
		.rate = rate,
		.burst_rate = burst_rate,
		.duration_us = options->sustained_ms * 1000,
		.burst_us = options->burst_ms * 1000,
		.burst_every_us = options->burst_every_ms * 1000,
	});
}

/* No new operation begins; waits until those under way are over.  Returns what became of all, palloc'd. */
Tally *
load_end(Run *run, Load *load, int64 timeout_ms)
{
	load_stop(load);
	wait_until(run, load_is_over(load), timeout_ms);
	return load_tally(load);
}

/*
 * Returns why requests of this pool were not granted in this phase, or operations of it
 * failed, for a check; may be palloc'd.
 */
const char *
failure_text(const Run *run, const Pool *pool)
{
	if (pool->failed_us >= run->phase_us)
		return psprintf("the last login that failed: %s", connect_failure_text(&pool->last_failure));
	if (pool->timed_out_us >= run->phase_us)
		return "requests timed out: see pool_timeout_ms";
	if (pool->lost_us >= run->phase_us)
		return psprintf("the last connection that was lost: %s", connect_failure_text(&pool->last_loss));
	return "the server log says why";
}

/*
 * Returns "a setting of pg ended connections of the run: 57P05 terminating connection
 * due to idle-session timeout", palloc'd, if that foreign server did; NULL if none did.
 * The roles that a run makes here have no such limit.
 */
char *
session_limit_text(const Run *run)
{
	static const char *const limits[] = {"57P05", "25P03", "25P04"};	/* idle, idle in transaction, in transaction */

	for (int i = 0; i < run->nparties; i++)
		for (int n = 0; n < lengthof(limits); n++)
		{
			const RunParty *party = &run->parties[i];

			if (party->endpoint != NULL && party->pool != NULL && strcmp(party->pool->last_loss.sqlstate, limits[n]) == 0)
				return psprintf("a setting of %s ended connections of the run: %s", party->endpoint->name,
								connect_failure_text(&party->pool->last_loss));
		}
	return NULL;
}

/* Ends the run as invalid if less than n connections of a pool are held, and no check has failed yet. */
static void
require_held(Run *run, const Pool *pool, int n)
{
	if (pool->stats.held < n && !check_failed(run))
		run_end(run, VERDICT_INVALID, "only %d of %d connections could be held: %s", pool->stats.held, n,
				failure_text(run, pool));
}

/*
 * Returns whether it has come to an end that a pool is to hold n connections: no
 * request and no login is under way.  Asks again for what timed out, as the first
 * requests do where a login takes longer; "timed_out" has how many did before.
 */
static bool
hold_is_settled(Pool *pool, int n, uint64 *timed_out)
{
	const PoolStats *stats = &pool->stats;

	if (stats->opening > 0 || stats->wanted > 0 || stats->held > n)
		return false;
	if (stats->held == n || stats->timed_out == *timed_out)
		return true;
	*timed_out = stats->timed_out;
	pool_acquire_many(pool, n - stats->held);
	return false;
}

/* Acquires or releases connections until n of a pool are held; ends the run as invalid if they cannot be had. */
void
run_hold_of(Run *run, Pool *pool, int n)
{
	uint64		timed_out = pool->stats.timed_out;

	if (n > pool->stats.held)
		pool_acquire_many(pool, n - pool->stats.held);
	else
		pool_release_many(pool, pool->stats.held - n);
	wait_until(run, hold_is_settled(pool, n, &timed_out), settle_ms(run));
	require_held(run, pool, n);
}

/* The same of the first pool of the run. */
void
run_hold(Run *run, int n)
{
	run_hold_of(run, run->pool, n);
}

/* Ends the run as invalid if no request of the load had to wait, and no check has failed yet. */
void
require_waits(Run *run, const Tally *tally)
{
	if (tally->queued == 0 && tally_not_granted(tally) == 0 && !check_failed(run))
		run_end(run, VERDICT_INVALID, "no request of the bursts had to wait, with %d of %d connections in use at the most: raise burst_percent or burst_ms",
				run->pool->stats.peak_held, run_capacity(run));
}

/* Returns the share in percent; 0 of nothing. */
double
percent_of(uint64 part, uint64 whole)
{
	return whole > 0 ? 100.0 * part / whole : 0;
}

/* Returns "p50 1.2 ms   p99 3.4 ms", palloc'd. */
char *
latency_text(const Histogram *h)
{
	return psprintf("p50 %.1f ms   p99 %.1f ms", histogram_ms(h, 0.50), histogram_ms(h, 0.99));
}

/*
 * Returns "53300 reserved_slots 10", causes in the order of the table; poolers have
 * SQLSTATEs of their own for theirs.  palloc'd.
 */
char *
causes_text(const uint64 *refused_by)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < CAUSES; i++)
		if (refused_by[i] > 0)
			appendStringInfo(&text, "%s%s%s " UINT64_FORMAT, text.len > 0 ? ", " : "",
							 i < LEDGER_CAUSES ? psprintf("%s ", cause_kinds[i].sqlstate) : "",
							 cause_kinds[i].name, refused_by[i]);
	return text.len > 0 ? text.data : "none";
}

/* The same, of the refusals of the run's pool in this phase. */
char *
phase_causes_text(const Run *run)
{
	const Phase *p = &run->phases[run->nphases - 1];
	uint64		refused_by[CAUSES];

	for (int i = 0; i < CAUSES; i++)
		refused_by[i] = run->pool->stats.refused_by[i] - p->before.refused_by[i];
	return causes_text(refused_by);
}

/* Returns how many logins of this pool have got no answer: the server may have refused them. */
uint64
logins_unanswered(const Pool *pool)
{
	return pool->stats.given_up + pool->stats.broken;
}

static bool
logins_under_way(const Run *run)
{
	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].pool->stats.opening > 0)
			return true;
	return false;
}

/*
 * Waits until each login to the pools of the run has ended: it may take longer than
 * its client waits for a connection, and be refused then.
 */
void
run_await_logins(Run *run)
{
	wait_until(run, !logins_under_way(run), settle_ms(run));
}

/* Returns what the clients of all pools of the run have seen of refusals so far, and the ledger. */
LoginCounts
run_logins(const Run *run)
{
	LoginCounts counts = {.ledger = run_refusals_in_ledger(run)};

	for (int i = 0; i < run->nparties; i++)
	{
		counts.refused += logins_refused(run->parties[i].pool);
		counts.unanswered += logins_unanswered(run->parties[i].pool);
	}
	return counts;
}

/* Returns how many logins of this pool the server has refused, for whatever limit. */
uint64
logins_refused(const Pool *pool)
{
	uint64		n = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		n += pool->stats.refused_by[i];
	return n;
}

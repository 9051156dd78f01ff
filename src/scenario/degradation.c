/*
 * degradation.c
 *		Sustained load below capacity with bursts above it: do operations get
 *		slower without failing, and are they as fast as before afterwards?
 */
#include "postgres.h"

#include <math.h>

#include "base/text.h"
#include "scenario/list.h"
#include "story/canary.h"

/* An operation is as fast as before when it takes no longer than that. */
#define AS_BEFORE_FACTOR	2
#define AS_BEFORE_SLACK_US	(20 * 1000)

/* The baseline has so few clients that none waits: a share of the capacity. */
#define BASELINE_PERCENT	20

/* What a fixed number of clients got done. */
typedef struct Baseline
{
	double		goodput;		/* operations a second */
	double		undisturbed;	/* the same, if each took no longer than the median */
	uint64		p50_us;			/* of their responses */
} Baseline;

/* Clients in a closed loop, for as long as the baseline takes. */
static Baseline
closed_loop(Run *run, const char *name, int clients)
{
	const Options *options = &run->options;
	Baseline	result;
	uint64		succeeded;
	uint64		counted_us;
	Tally	   *tally;
	Phase	   *p = phase(run, name);
	Load	   *load = clients_start(run, 0, clients, 0, options->work_ms);

	wait_until(run, load->peak_holding >= clients, options->connect_timeout_ms);
	p->started_us = loop_now_us();
	counted_us = load_counted_us(load);
	succeeded = load->calm.succeeded;
	linger_until(run, false, options->baseline_ms);
	result.goodput = (load->calm.succeeded - succeeded) * 1e6 / Max(load_counted_us(load) - counted_us, 1);
	tally = load_end(run, load, options->response_limit_ms);
	phase_end(run);
	result.p50_us = (uint64) Max(histogram_ms(&tally->response, 0.50) * 1000, 1);
	result.undisturbed = clients * 1e6 / result.p50_us;
	phase_figure(run, "goodput_per_s", result.goodput);
	phase_note(run, "%d clients, %.0f operations/s   %s", clients, result.goodput,
			   phase_latency(run, "response", &tally->response));
	if (tally->failed > 0 && !check_failed(run))
		run_end(run, VERDICT_INVALID, "operations fail even in the baseline: " UINT64_FORMAT " of " UINT64_FORMAT "; %s",
				tally->failed, tally->granted, failure_text(run, run->pool));
	if (result.goodput == 0 && tally_not_granted(tally) == 0 && !check_failed(run))
		run_end(run, VERDICT_INVALID, "no operation ended within the " INT64_FORMAT " ms of baseline_ms: raise that, or lower work_ms",
				options->baseline_ms);
	check_count(run, psprintf("%s: not granted", name), 0, tally_not_granted(tally),
				psprintf("there are as many connections as clients; %s", failure_text(run, run->pool)));
	check_was_of_time(run);
	check_all_ended(run, name, tally);
	return result;
}

/*
 * The load itself.  It counts from what the pool got done; bursts from what it
 * can do at best, so that they are too much for it even if the machine was busy
 * when that was measured.
 */
static void
sustain(Run *run, const Baseline *full)
{
	const Options *options = &run->options;
	const RunParty *party = &run->parties[0];
	double		rate = full->goodput * options->load_percent / 100;
	double		burst_rate = Max(full->goodput, full->undisturbed) * options->burst_percent / 100;
	Phase	   *p = phase(run, "sustained");
	Load	   *load = bursts_play(run, rate, burst_rate);
	const Tally *all = load_tally(load);
	const Tally *burst = &load->burst;

	phase_end(run);
	phase_figure(run, "goodput_per_s", all->succeeded * 1e6 / p->elapsed_us);
	phase_figure(run, "burst_p99_ms", histogram_ms(&burst->response, 0.99));
	phase_note(run, "%.0f/s, in bursts %.0f/s: " UINT64_FORMAT " of " UINT64_FORMAT " succeeded, %.0f/s   %s",
			   rate, burst_rate, all->succeeded, all->asked,
			   all->succeeded * 1e6 / p->elapsed_us, phase_latency(run, "response", &all->response));
	require_waits(run, burst);

	check_load(run, "load", all, load->over_limit);
	check_at_most(run, "load: errors in bursts", options->burst_error_percent,
				  percent_of(tally_not_granted(burst) + burst->failed - operations_excused(party, burst->failed), burst->asked), "%",
				  "the queue does not outlast the bursts: raise pool_timeout_ms or the capacity");
}

/* The load is off: until operations take no longer than before. */
static void
recover(Run *run, uint64 before_us)
{
	const Options *options = &run->options;
	uint64		as_before_us = before_us * AS_BEFORE_FACTOR + AS_BEFORE_SLACK_US;
	double		recovery_ms;
	Phase	   *p = phase(run, "recover");
	Load	   *load = clients_start(run, 0, 1, 0, options->work_ms);

	wait_until(run, load->last_us > 0 && load->last_us <= as_before_us, options->recovery_limit_ms);
	recovery_ms = (loop_now_us() - p->started_us) / 1000.0;
	load_end(run, load, options->response_limit_ms);
	phase_note(run, "an operation takes %.1f ms again, %.0f ms after the load",
			   load->last_us / 1000.0, recovery_ms);
	check_at_most(run, "time to recover", options->recovery_limit_ms, recovery_ms, "ms",
				  "operations are still slower than before the load: see waiting in pool_exhaust_pools");
	check_all_released(run, NULL, run->pool->stats.held);
}

static void
degradation_play(Run *run)
{
	Canary	   *canary = run->target->one_backend ? canary_open(run) : NULL;
	Baseline	calm;
	Baseline	full;

	run_disturb(run, CHAOS_NONE);	/* what follows is compared with this */
	calm = closed_loop(run, "baseline", Max(run_capacity(run) * BASELINE_PERCENT / 100, 1));
	full = closed_loop(run, "capacity", run_capacity(run));
	run_disturb(run, CHAOS_ALL);

	if (full.goodput == 0)
		return;					/* nothing was granted: nothing can degrade */
	sustain(run, &full);
	recover(run, calm.p50_us);
	if (canary != NULL)
		canary_check(run, canary, run->options.response_limit_ms);
	else
		check_skip(run, "notifications received", "a client that listens needs a session of its own, and a pooler shares them");
}

static void
degradation_require(const Options *options)
{
	double		bursts = (double) options->burst_ms / options->burst_every_ms;
	double		average = options->load_percent * (1 - bursts) + options->burst_percent * bursts;

	require_time_for(options, 2 * options->baseline_ms + options->sustained_ms);
	if (options->burst_ms >= options->burst_every_ms)
		options_contradict("Lower burst_ms, or raise burst_every_ms.",
						   "a burst of " INT64_FORMAT " ms does not fit into every " INT64_FORMAT " ms",
						   options->burst_ms, options->burst_every_ms);
	if (options->burst_every_ms > options->sustained_ms)
		options_contradict("Lower burst_every_ms, or raise sustained_ms.",
						   "the first burst ends after " INT64_FORMAT " ms, the load after " INT64_FORMAT " ms",
						   options->burst_every_ms, options->sustained_ms);
	if (average > 100)
		options_contradict("No pool serves that for long: lower load_percent, burst_percent or burst_ms, or raise burst_every_ms.",
						   "with its bursts the load is %s %% of the capacity on average", number_text(average));
}

const Scenario scenario_degradation = {
	.name = "degradation",
	.summary = "sustained load below the capacity of a pool, with bursts above it, and recovery",
	.effect = "opens pool_size + max_overflow connections and two more, and keeps them busy",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_PGBOUNCER,
	.spare_sessions = CANARY_SESSIONS,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {10, 10, 10}, .inherits = true},
		{OPTION_max_overflow, {15, 15, 15}, .inherits = true},
		{OPTION_pool_timeout_ms, {3000, 5000, 5000}, .inherits = true},
		POOL_OPTIONS,
		{OPTION_work_ms, {20, 20, 20}},
		{OPTION_load_percent, {80, 80, 80}},
		{OPTION_burst_percent, {120, 120, 120}},
		{OPTION_baseline_ms, {400, 5000, 30 * 1000}},
		{OPTION_sustained_ms, {2000, 120 * 1000, 3600 * 1000}},
		{OPTION_burst_ms, {300, 10 * 1000, 10 * 1000}},
		{OPTION_burst_every_ms, {1000, 40 * 1000, 60 * 1000}},
		{OPTION_success_percent, {80, 80, 80}},
		{OPTION_burst_error_percent, {5, 5, 5}},
		{OPTION_response_limit_ms, {5000, 5000, 5000}},
		{OPTION_recovery_limit_ms, {30 * 1000, 30 * 1000, 30 * 1000}},
		{OPTION_drivers},
		{OPTION_END}
	},
	.require = degradation_require,
	.play = degradation_play,
};

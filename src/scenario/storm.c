/*
 * storm.c
 *		All clients connect at once; then all are cut off at once, and reconnect.
 *
 * More clients than fit: those that are refused retry, a little later each time,
 * until all that fit are granted.  Beside them an application goes on working over
 * sessions that it has had before: what does the storm cost those?
 */
#include "postgres.h"

#include "load/crowd.h"
#include "scenario/list.h"
#include "story/story.h"

/* The handshakes in flight are bounded, so that the refusals of many clients take some time. */
#define REFUSAL_MS			10

/* Of fewer operations in the time of a wave no throughput is measured. */
#define OPERATIONS_MIN		20

/* What the application does: something in the server, for a millisecond or less. */
#define APPLICATION_SQL		"SELECT pg_catalog.count(*) FROM pg_catalog.generate_series(1, 5000)"

typedef struct Storm
{
	Run		   *run;
	Crowd	   *crowd;			/* its clients */
	int			fit;			/* clients that there is room for */
	double		calm_rate;		/* operations a second of the application, before */
	Load	   *application;
} Storm;

/* ---------- The application that is connected already ---------- */

static void
application_begin(Storm *storm)
{
	Run		   *run = storm->run;
	LoadConfig	config = load_of(run, &run->parties[1]);

	config.sql = APPLICATION_SQL;
	config.hold_ms = run->options.work_ms;
	config.clients = (int) run->options.pool_size;
	storm->application = load_start(run, &config);
}

/* Returns what became of it, palloc'd, and how many operations a second it got done. */
static Tally *
application_end(Storm *storm, double *rate)
{
	Load	   *load = storm->application;

	*rate = load->calm.succeeded * 1e6 / Max(loop_now_us() - load->begun_us, 1);
	return load_end(storm->run, load, 2 * storm->run->options.response_limit_ms);
}

/* The throughput of the application before the storm; its sessions are opened before that. */
static void
calm(Storm *storm)
{
	Run		   *run = storm->run;
	int			sessions = (int) run->options.pool_size;
	PoolState	truth;
	Tally	   *tally;

	phase(run, "calm");
	run_disturb(run, CHAOS_GENTLE);
	truth = run_pool_state(run);
	application_begin(storm);
	wait_until(run, run->parties[1].pool->stats.peak_held >= sessions, settle_ms(run));
	application_end(storm, &storm->calm_rate);
	application_begin(storm);
	linger_until(run, false, run->options.baseline_ms);
	tally = application_end(storm, &storm->calm_rate);
	phase_note(run, "%d of %d in use; %d sessions at work, %.0f/s   %s", truth.in_use, truth.capacity,
			   sessions, storm->calm_rate, phase_latency(run, "response", &tally->response));
	phase_figure(run, "operations_per_s", storm->calm_rate);
	if (storm->calm_rate == 0 && tally_not_granted(tally) == 0)
		run_end(run, VERDICT_INVALID, "no operation of the application succeeded even before the storm: %s",
				failure_text(run, run->parties[1].pool));
}

/* ---------- One wave ---------- */

/* Returns how many clients of the run there is room for. */
static int
storm_fit(Storm *storm)
{
	Run		   *run = storm->run;
	PoolState	truth = run_pool_state(run);

	/* A target that cannot be asked does not count the sessions of the application. */
	if (run->parties[0].endpoint != NULL && run->parties[0].probe == NULL)
	{
		PoolState	application;

		pool_read_state(run->parties[1].pool, &application);
		truth.in_use += application.in_use + application.idle;
	}
	return Min(truth.ours + Max(truth.capacity - truth.in_use, 0), storm->crowd->config.n);
}

static void
clients_disconnect(Storm *storm, int n)
{
	Crowd	   *crowd = storm->crowd;
	int			rest = Max(crowd->connected - n, 0);

	crowd_disconnect(crowd, n);
	wait_until(storm->run, crowd->connected <= rest, settle_ms(storm->run));
}

/* Ends the retries, and waits for the attempts under way, as long as a login may take. */
static void
wave_stop(Storm *storm)
{
	Run		   *run = storm->run;

	crowd_stop(storm->crowd);
	wait_until(run, crowd_rests(storm->crowd), login_ms(run) + settle_ms(run));
	if (run_fault(run, FAULT_KEEP_SLOT))
		clients_disconnect(storm, 1);
	run_settle(run);
}

/*
 * Ends the run as invalid if the time was over before each client had its turn, though
 * all attempts that did begin were answered in time: of the others nothing is known.
 */
static void
require_all_answered(Storm *storm, uint64 failed, double limit_ms, double lasted_s)
{
	const Crowd *crowd = storm->crowd;

	if (crowd->unanswered > 0 && crowd_under_way(crowd) == 0 && failed == 0 &&
		crowd->slowest_us <= limit_ms * 1000 && !check_failed(storm->run))
	{
		storm->run->too_busy = true;
		run_end(storm->run, VERDICT_INVALID, "the machine was too busy: in %.1f s " UINT64_FORMAT " attempts were answered, and %d of %d clients had made none by then; lower option clients, or raise recovery_limit_ms",
				lasted_s, crowd->ended[ACQUIRE_GRANTED] + crowd->ended[ACQUIRE_REFUSED], crowd->unanswered, crowd->config.n);
	}
}

static void
wave_check_clients(Storm *storm, const char *wave, const Phase *p, double in_ms, int64 ledger)
{
	Run		   *run = storm->run;
	const PoolStats *stats = &run->pool->stats;
	const Crowd *crowd = storm->crowd;
	int			fit = storm_fit(storm);
	const Options *options = &run->options;
	uint64		failed = stats->failed - p->before.failed;
	double		limit_ms = options->response_limit_ms + run_chaos_ms(run);

	check_count(run, claim(wave, "granted"), fit, crowd->connected,
				crowd->connected < fit
				? psprintf("%d connections stayed free: see pool_exhaust_slots, or raise recovery_limit_ms", fit - crowd->connected)
				: psprintf("%d clients more than there is room for were granted: see pool_exhaust_slots for the limit", crowd->connected - fit));
	check_at_most(run, claim(wave, "time until all granted"), options->recovery_limit_ms, in_ms, "ms",
				  "clients use up the handshakes of each other: let them retry later each time, or hold them in a pooler");
	require_all_answered(storm, failed, limit_ms, p->elapsed_us / 1e6);
	check_count(run, claim(wave, "refused"), crowd->config.n - crowd->connected, crowd_refused(crowd),
				"a client is neither granted nor refused: see failed for another reason, and the server log");
	check_count(run, claim(wave, "failed for another reason"), 0, failed, failure_text(run, run->pool));
	check_count(run, claim(wave, "attempts without an end"), 0, crowd_under_way(crowd),
				"logins have neither been granted nor refused: see the server log, and authenticating in pool_exhaust_slots");
	check_at_most(run, claim(wave, "slowest attempt"), limit_ms, crowd->slowest_us / 1000.0, "ms",
				  "logins take too long while there are many at once: a pooler in front of the server avoids them");
	check_ledger(run, wave, p->refused,
				 stats->given_up - p->before.given_up + stats->broken - p->before.broken, ledger);
}

/* What the wave cost the sessions that were connected already. */
static void
wave_check_application(Storm *storm, const char *wave, const Tally *tally, double rate, double lasted_s)
{
	Run		   *run = storm->run;
	const Options *options = &run->options;
	uint64		failed = tally->failed + tally_not_granted(tally);
	bool		disturbed = chaos_sessions_ended(&run->parties[1].chaos_counts) > 0;	/* and had to reconnect */
	double		kept = storm->calm_rate > 0 ? 100 * rate / storm->calm_rate : 0;

	phase(run, "cost");
	phase_figure(run, "operations_per_s", rate);
	phase_note(run, "the application: %.0f/s, %.0f %% of before   %s", rate, kept, phase_latency(run, "response", &tally->response));
	check_chaos(run, claim(wave, "application, failed"), 0, disturbed ? failed : 0, failed,
				"operations of sessions that were connected before the storm fail: see the server log");
	check_was_of_time(run);
	check_at_most(run, claim(wave, "application, slowest"), options->response_limit_ms + run_chaos_ms(run),
				  histogram_max_ms(&tally->response), "ms",
				  "sessions that were connected before the storm wait for logins: allow fewer logins at once");
	if (storm->calm_rate * lasted_s < OPERATIONS_MIN)
		check_skip(run, claim(wave, "application, throughput"), "the wave was too short to measure it");
	else
		check_at_least(run, claim(wave, "application, throughput"), options->keep_percent, kept, "%",
					   "logins and refusals take the processors from the sessions that are connected: limit how many there are at once");
}

/* Returns the refusals in the ledger without those of the application, which may have to reconnect. */
static int64
clients_in_ledger(const Run *run)
{
	return run_refusals_in_ledger(run) - (int64) logins_refused(run->parties[1].pool);
}

/* Ends the run as invalid if the room was not used up, and says what was seen instead. */
static void
require_refusals(const Storm *storm, const Phase *p)
{
	Run		   *run = storm->run;
	int			n = storm->crowd->config.n;

	if (p->refused > 0 || (n <= storm->fit && !run_fault(run, FAULT_NO_LIMIT)))
		return;
	if (storm->crowd->connected >= Min(n, storm->fit))
		run_end(run, VERDICT_INVALID, "no client was refused: %d clients, and all of them fit; raise option clients", n);
	run_end(run, VERDICT_INVALID, "no client was refused: only %d of %d clients were connected after %.1f s, with room for %d; raise option recovery_limit_ms",
			storm->crowd->connected, n, p->elapsed_us / 1e6, storm->fit);
}

/* From the moment when all connect until all that fit are connected, and what it cost. */
static void
wave_play(Storm *storm, const char *wave, void (*begin) (Storm *storm))
{
	Run		   *run = storm->run;
	Crowd	   *crowd = storm->crowd;
	int64		ledger = clients_in_ledger(run);
	double		in_ms;
	double		rate;
	double		lasted_s;
	Tally	   *tally;
	Phase	   *p = phase(run, wave);

	run_progress(run, &crowd->connected, storm->fit);
	crowd->fit = storm->fit;
	application_begin(storm);
	crowd_begin(crowd);
	begin(storm);
	run_disturb(run, CHAOS_ALL);
	wait_until(run, crowd->in_us != 0 && crowd->unanswered == 0,
			   run->options.recovery_limit_ms + crowd->config.n * REFUSAL_MS + run->pool->lag_ms);
	run_disturb(run, CHAOS_GENTLE); /* sessions that were ended reconnect, and all stay from now on */
	wait_until(run, crowd->connected >= storm->fit || run->options.chaos == 0, run->options.recovery_limit_ms);
	in_ms = ((crowd->in_us != 0 ? crowd->in_us : loop_now_us()) - crowd->begun_us) / 1000.0;
	lasted_s = (loop_now_us() - storm->application->begun_us) / 1e6;
	tally = application_end(storm, &rate);
	wave_stop(storm);
	if (run_fault(run, FAULT_MISCOUNT))
	{
		run->pool->stats.refused++;
		run->pool->stats.refused_by[CAUSE_TOO_MANY_CLIENTS]++;
	}
	phase_end(run);
	phase_note(run, "%d at once, %d granted after %.2f s, at the peak %.0f/s; " UINT64_FORMAT " refused: %s",
			   crowd->config.n, crowd->connected, in_ms / 1000, crowd_peak(crowd) * 1e6 / CROWD_WINDOW_US,
			   p->refused, phase_causes_text(run));
	phase_figure(run, "in_ms", in_ms);
	phase_figure(run, "peak_per_s", crowd_peak(crowd) * 1e6 / CROWD_WINDOW_US);
	phase_figure(run, "stalled", run->pool->stats.stalled - p->before.stalled);
	require_refusals(storm, p);

	wave_check_clients(storm, wave, p, in_ms, clients_in_ledger(run) - ledger);
	wave_check_application(storm, wave, tally, rate, lasted_s);
}

/* ---------- The story ---------- */

/* All connect at once. */
static void
connect_all(Storm *storm)
{
	crowd_connect(storm->crowd, false);
}

/*
 * All are cut off at once, by the server if it is this one, and reconnect, those
 * that were refused before too.
 */
static void
cut_all(Storm *storm)
{
	Run		   *run = storm->run;
	Crowd	   *crowd = storm->crowd;
	int			connected = crowd->connected;
	int			n;

	if (run->target->terminates)
		(void) sessions_terminate(run->parties[0].role, &n);
	crowd_connect(crowd, !run->target->terminates);
	wait_until(run, crowd->cut_off >= connected, settle_ms(run));
	if (crowd->cut_off < connected)
		run_end(run, VERDICT_INVALID, "only %d of %d sessions could be cut off: the others had ended before, see the server log", crowd->cut_off, connected);
}

/* All disconnect. */
static void
disconnect(Storm *storm)
{
	Run		   *run = storm->run;
	int			n = Max(storm->crowd->connected - run_fault(run, FAULT_LEAVE_SESSION), 0);

	phase(run, "disconnect");
	clients_disconnect(storm, n);
	check_closed(run, "sessions left after the storm", n);
}

static Storm *
storm_make(Run *run)
{
	Storm	   *storm = palloc0(sizeof(Storm));
	PoolState	truth = run_pool_state(run);
	int			fit = truth.capacity - truth.in_use;
	CrowdConfig config = {.pool = run->pool, .clock = &run->clock, .seed = run->options.seed};

	if (fit <= 0)
		run_end(run, VERDICT_INVALID, "no connection is free for the storm: %d of %d connections are in use; end some of them (pool_exhaust_backends has their pids), or raise the limit",
				truth.in_use, truth.capacity);
	config.n = run->options.clients > 0 ? (int) run->options.clients : fit * CROWD_PERCENT / 100 + 1;
	if (run_fault(run, FAULT_NO_LIMIT) && run->pool->type->exclusive)
		config.n = (fit + 1) / 2;
	storm->run = run;
	storm->crowd = crowd_create(&config);
	return storm;
}

static void
storm_play(Run *run)
{
	Storm	   *storm = storm_make(run);

	calm(storm);
	storm->fit = storm_fit(storm);
	wave_play(storm, "storm", connect_all);
	if (!check_failed(run))
		wave_play(storm, "again", cut_all);
	disconnect(storm);
}

static void
storm_require(const Options *options)
{
	require_time_for(options, options->baseline_ms);
}

const Scenario scenario_storm = {
	.name = "storm",
	.summary = "more clients than fit connect at once; all are cut off, and reconnect at once",
	.effect = "target server: takes every slot, for moments those that are reserved, too; "
	"target role: takes as many slots as option role_limit says; "
	"a foreign server: takes every connection that it grants",
	.default_target = TARGET_SERVER,
	.targets = ON_SERVER | ON_ROLE | ON_POSTGRES | ON_PGBOUNCER,
	.parties = 2,
	.pools = 1,
	.embedded = 1 << 1,
	.logins = true,
	.crowd = true,
	.options = (const OptionDefault[]) {
		{OPTION_clients, {0, 0, 0}},
		{OPTION_role_limit, {10, 20, 20}},
		{OPTION_handshakes, {200, 200, 200}},
		{OPTION_pool_size, {4, 4, 4}},
		{OPTION_pool_timeout_ms, {10 * 1000, 10 * 1000, 10 * 1000}},
		{OPTION_connect_timeout_ms, {5000, 5000, 5000}},
		{OPTION_work_ms, {5, 5, 5}},
		{OPTION_baseline_ms, {500, 10 * 1000, 60 * 1000}},
		{OPTION_response_limit_ms, {5000, 5000, 5000}},
		{OPTION_recovery_limit_ms, {10 * 1000, 30 * 1000, 60 * 1000}},
		{OPTION_keep_percent, {5, 5, 5}},
		{OPTION_drivers},
		{OPTION_END}
	},
	.require = storm_require,
	.play = storm_play,
};

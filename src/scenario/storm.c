/*
 * storm.c
 *		Everybody connects at once; then all are cut off at once, and come again.
 *
 * More clients than fit: those who are told no come again, a little later each
 * time, until all that fit are in.  Beside them an application goes on working
 * over sessions that it has had before: what does the storm cost those?
 */
#include "postgres.h"

#include "story/story.h"

#define SETTLE_TIMEOUT_MS	(10 * 1000)
#define RELEASE_TIMEOUT_MS	(30 * 1000)

/* Who was told no comes again after that; twice as late each time, up to a limit. */
#define RETRY_US			(20 * 1000)
#define RETRY_DOUBLED_MAX	4

/* The peak of connects a second is that of a window of this length. */
#define WINDOW_US			(100 * 1000)

/* The handshakes in flight are bounded, so that many clients take some time to be told no. */
#define REFUSAL_MS			10

/* Of fewer that it would have done in the time it cannot be told what it was kept from. */
#define OPERATIONS_MIN		20

/* Without option clients, there are so many for each one that fits. */
#define CROWD_PERCENT		150

/* What the application does: something in the server, for a millisecond or less. */
#define APPLICATION_SQL		"SELECT pg_catalog.count(*) FROM pg_catalog.generate_series(1, 5000)"

typedef struct Storm Storm;

typedef enum GuestState
{
	GUEST_OUTSIDE,				/* does not want to come in just now */
	GUEST_ASKING,
	GUEST_INSIDE
} GuestState;

/* One of those who connect. */
typedef struct Guest
{
	Request		request;		/* must be first */
	Storm	   *storm;
	Alarm		alarm;			/* it comes again */
	GuestState	state;
	int			attempts;		/* in this wave */
	bool		told;			/* one of those has ended, in whatever way */
} Guest;

struct Storm
{
	Run		   *run;
	Guest	   *guests;
	int			n;
	int			inside;
	int			asking;
	int			fit;			/* that there is room for */
	int			cut_off;		/* sessions lost, of those who were inside */
	bool		over;			/* nobody comes again */
	pg_prng_state jitter;
	double		calm_rate;		/* operations a second of the application, before */
	Load	   *application;
	uint64		application_us; /* since when it is measured */

	/* Of this wave. */
	uint64		begun_us;
	uint64		in_us;			/* when all that fit were in, 0 = not yet */
	int			untold;			/* guests that have heard nothing yet */
	uint64		slowest_us;		/* from the begin of a login to its answer */
	uint64		window;			/* its number, and how many came in then */
	int			window_granted;
	int			peak_granted;
};

/* ---------- The guests; all of this runs inside the loop ---------- */

static void
guest_ask(Guest *guest)
{
	Storm	   *storm = guest->storm;

	guest->state = GUEST_ASKING;
	guest->attempts++;
	storm->asking++;
	pool_acquire(storm->run->pool, &guest->request);
}

static void
guest_rung(Alarm *alarm)
{
	guest_ask(alarm->owner);
}

/* Not all of those who are told no at the same time come again at the same time. */
static void
guest_come_again(Guest *guest)
{
	Storm	   *storm = guest->storm;
	uint64		pause_us = (uint64) RETRY_US << Min(guest->attempts - 1, RETRY_DOUBLED_MAX);

	if (!storm->over)
		alarm_set(&storm->run->clock, &guest->alarm,
				  loop_now_us() + (uint64) (pause_us * (0.5 + pg_prng_double(&storm->jitter))));
}

static void
storm_count_granted(Storm *storm)
{
	uint64		window = (loop_now_us() - storm->begun_us) / WINDOW_US;

	if (window != storm->window)
		storm->window_granted = 0;
	storm->window = window;
	storm->peak_granted = Max(storm->peak_granted, ++storm->window_granted);
}

static void
guest_ended(Request *request, AcquireEnd end)
{
	Guest	   *guest = (Guest *) request;
	Storm	   *storm = guest->storm;

	storm->asking--;
	guest->state = end == ACQUIRE_GRANTED ? GUEST_INSIDE : GUEST_OUTSIDE;
	if (end == ACQUIRE_CANCELED)
		return;
	storm->untold -= !guest->told;
	guest->told = true;
	storm->slowest_us = Max(storm->slowest_us, loop_now_us() - request->asked_us);
	if (end == ACQUIRE_GRANTED)
	{
		if (++storm->inside == storm->fit)
			storm->in_us = loop_now_us();
		storm_count_granted(storm);
	}
	else
		guest_come_again(guest);
}

/* Its session has been ended: it comes again at once, as everybody does. */
static void
guest_cut_off(Guest *guest)
{
	Storm	   *storm = guest->storm;

	guest->state = GUEST_OUTSIDE;
	storm->inside--;
	storm->cut_off++;
	pool_release(&guest->request);
	if (!storm->over)
		guest_ask(guest);
}

static void
guest_lost(Request *request)
{
	guest_cut_off((Guest *) request);
}

static const RequestEvents guest_events = {
	.ended = guest_ended,
	.lost = guest_lost,
};

/* ---------- The application that is connected already ---------- */

static void
application_begin(Storm *storm)
{
	Run		   *run = storm->run;
	LoadConfig	config = load_of(run, &run->parties[1]);

	config.sql = APPLICATION_SQL;
	config.hold_ms = run->options.work_ms;
	config.clients = (int) run->options.pool_size;
	storm->application = load_create(&config);
	load_begin(storm->application);
	storm->application_us = loop_now_us();
}

/* Returns what became of it, palloc'd, and how many operations a second it got done. */
static Tally *
application_end(Storm *storm, double *rate)
{
	Tally	   *tally = palloc(sizeof(Tally));
	Load	   *load = storm->application;

	*rate = load->calm.succeeded * 1e6 / Max(loop_now_us() - storm->application_us, 1);
	load_end(storm->run, load, 2 * storm->run->options.response_limit_ms);
	load_tally(load, tally);
	return tally;
}

/* How fast it is when all is calm; its sessions are opened before that. */
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
	wait_until(run, run->parties[1].pool->stats.peak_held >= sessions, SETTLE_TIMEOUT_MS);
	application_end(storm, &storm->calm_rate);
	application_begin(storm);
	wait_until(run, false, run->options.baseline_ms);
	tally = application_end(storm, &storm->calm_rate);
	phase_end(run);
	phase_note(run, "%d of %d in use; %d sessions at work, %.0f/s   %s", truth.in_use, truth.capacity,
			   sessions, storm->calm_rate, latency_text(&tally->response));
	phase_figure(run, "operations_per_s", storm->calm_rate);
	if (storm->calm_rate == 0 && tally_sent_away(tally) == 0)
		run_end(run, VERDICT_INVALID, "the application got nothing done even before the storm: %s",
				failure_text(run->parties[1].pool));
}

/* ---------- One wave ---------- */

/* What a wave is called in its claims. */
typedef struct Wave
{
	const char *phase;
	const char *in;
	const char *time;
	const char *away;
	const char *failed;
	const char *unanswered;
	const char *slowest;
	const char *ledger;
	const char *application_failed;
	const char *application_slowest;
	const char *application_rate;
} Wave;

#define WAVE(phase_, name_) { \
	.phase = phase_, \
	.in = name_ ": let in", \
	.time = name_ ": time until all were in", \
	.away = name_ ": told no", \
	.failed = name_ ": failed otherwise", \
	.unanswered = name_ ": without an answer", \
	.slowest = name_ ": slowest answer", \
	.ledger = name_ ": refusals in the ledger", \
	.application_failed = name_ ": application, failed", \
	.application_slowest = name_ ": application, slowest", \
	.application_rate = name_ ": application, throughput", \
}

static const Wave at_once = WAVE("storm", "storm");
static const Wave again = WAVE("again", "again");

/* How many of the run's there is room for, as it stands, at rest. */
static int
storm_fit(Storm *storm)
{
	Run		   *run = storm->run;
	PoolState	truth = run_pool_state(run);

	/* A target that cannot be asked does not count the application's. */
	if (run->parties[0].endpoint != NULL && run->parties[0].probe == NULL)
	{
		PoolState	application;

		pool_read_state(run->parties[1].pool, &application);
		truth.in_use += application.in_use + application.idle;
	}
	return Min(truth.ours + Max(truth.capacity - truth.in_use, 0), storm->n);
}

static void
wave_begin(Storm *storm)
{
	storm->over = false;
	storm->untold = storm->n;
	storm->in_us = storm->slowest_us = 0;
	storm->window = storm->window_granted = storm->peak_granted = 0;
	for (int i = 0; i < storm->n; i++)
	{
		storm->guests[i].told = false;
		storm->guests[i].attempts = 0;
	}
	application_begin(storm);
	storm->begun_us = loop_now_us();
}

/* Nobody comes again; those who are under way come to their end. */
static void
wave_stop(Storm *storm)
{
	Run		   *run = storm->run;

	storm->over = true;
	for (int i = 0; i < storm->n; i++)
		alarm_unset(&run->clock, &storm->guests[i].alarm);
	pool_cancel(run->pool);
	wait_until(run, storm->asking == 0, SETTLE_TIMEOUT_MS);
	if (run_fault(run, FAULT_KEEP_SLOT))
		for (int i = 0; i < storm->n && storm->inside > 0; i++)
			if (storm->guests[i].state == GUEST_INSIDE)
			{
				storm->inside--;
				storm->guests[i].state = GUEST_OUTSIDE;
				pool_release(&storm->guests[i].request);
				break;
			}
	poll_until(run, run_pool_state(run).ours <= run->pool->stats.held, SETTLE_TIMEOUT_MS);
}

static int
outside_told(const Storm *storm)
{
	int			n = 0;

	for (int i = 0; i < storm->n; i++)
		n += storm->guests[i].told && storm->guests[i].state == GUEST_OUTSIDE;
	return n;
}

static void
wave_check_guests(Storm *storm, const Wave *wave, const Phase *p, double in_ms, int64 ledger)
{
	Run		   *run = storm->run;
	const Options *options = &run->options;
	const PoolStats *stats = &run->pool->stats;

	check_count(run, wave->in, storm_fit(storm), storm->inside,
				"connections that were free stayed so, or others took them: see pool_exhaust_slots");
	check_at_most(run, wave->time, options->recovery_limit_ms, in_ms, "ms",
				  "clients keep each other out: let them come again later each time, or hold them in a pooler");
	check_count(run, wave->away, storm->n - storm->inside, outside_told(storm),
				"a client is neither in nor was it told no");
	check_count(run, wave->failed, 0, stats->failed - p->before.failed, failure_text(run->pool));
	check_count(run, wave->unanswered, 0, storm->untold + storm->asking,
				"somebody waits for ever: its login hangs");
	check_at_most(run, wave->slowest, options->response_limit_ms + run_chaos_ms(run), storm->slowest_us / 1000.0, "ms",
				  "logins take too long while many come at once: a pooler in front of the server spares them that");
	if (run->target->ledger)
		check_rise(run, wave->ledger, p->refused, ledger,
				   "the ledger missed or invented refusals: log_min_messages must not be panic");
	else
		check_skip(run, wave->ledger, "the ledger counts what this server refuses");
}

/* What it cost those who were connected already. */
static void
wave_check_application(Storm *storm, const Wave *wave, const Tally *tally, double rate, double lasted_s)
{
	const Options *options = &storm->run->options;
	uint64		failed = tally->failed + tally_sent_away(tally);
	bool		disturbed = toll_ended(&storm->run->parties[1].toll) > 0;	/* and had to come in again */
	double		kept = storm->calm_rate > 0 ? 100 * rate / storm->calm_rate : 0;

	phase(storm->run, "cost");
	phase_figure(storm->run, "operations_per_s", rate);
	phase_note(storm->run, "the application: %.0f/s, %.0f %% of before   %s", rate, kept,
			   latency_text(&tally->response));
	check_chaos(storm->run, wave->application_failed, 0,
				disturbed ? failed : 0, failed,
				"those who were connected before the storm were hurt by it: see the server log");
	check_at_most(storm->run, wave->application_slowest, options->response_limit_ms + run_chaos_ms(storm->run),
				  histogram_max_ms(&tally->response), "ms",
				  "those who were connected before the storm wait for those who come: fewer logins at once would spare them");
	if (storm->calm_rate * lasted_s < OPERATIONS_MIN)
		check_skip(storm->run, wave->application_rate, "the storm was over before it could matter");
	else
		check_at_least(storm->run, wave->application_rate, options->keep_percent, kept, "%",
					   "logins and refusals take the processors from those who are connected: limit how many come at once");
}

/* Refusals in the ledger but for those of the application, if it had to come in again. */
static int64
guests_in_ledger(const Run *run)
{
	return run_refusals_in_ledger(run) - (int64) logins_refused(run->parties[1].pool);
}

/* One refusal is counted twice. */
static void
storm_miscount(PoolStats *stats)
{
	stats->refused++;
	stats->refused_by[CAUSE_TOO_MANY_CLIENTS]++;
}

/* From the moment when all come until all that fit are in, and what it cost. */
static void
wave_ride(Storm *storm, const Wave *wave, void (*break_loose) (Storm *storm))
{
	Run		   *run = storm->run;
	int64		ledger = guests_in_ledger(run);
	uint64		refused_by[CAUSES];
	double		in_ms;
	double		rate;
	double		lasted_s;
	Tally	   *tally;
	Phase	   *p = phase(run, wave->phase);

	run_progress(run, &storm->inside, storm->fit);
	wave_begin(storm);
	break_loose(storm);
	run_disturb(run, CHAOS_ALL);
	wait_until(run, storm->in_us != 0 && storm->untold == 0,
			   run->options.recovery_limit_ms + storm->n * REFUSAL_MS);
	run_disturb(run, CHAOS_GENTLE); /* who was ended comes again, and all stay from now on */
	wait_until(run, storm->inside >= storm->fit || run->options.chaos == 0, run->options.recovery_limit_ms);
	in_ms = ((storm->in_us != 0 ? storm->in_us : loop_now_us()) - storm->begun_us) / 1000.0;
	lasted_s = (loop_now_us() - storm->application_us) / 1e6;
	tally = application_end(storm, &rate);
	wave_stop(storm);
	if (run_fault(run, FAULT_MISCOUNT))
		storm_miscount(&run->pool->stats);
	phase_end(run);
	for (int i = 0; i < CAUSES; i++)
		refused_by[i] = run->pool->stats.refused_by[i] - p->before.refused_by[i];
	phase_note(run, "%d at once, %d in after %.2f s, at the peak %.0f/s; " UINT64_FORMAT " refused: %s",
			   storm->n, storm->inside, in_ms / 1000, storm->peak_granted * 1e6 / WINDOW_US,
			   p->refused, causes_text(refused_by));
	phase_figure(run, "in_ms", in_ms);
	phase_figure(run, "peak_per_s", storm->peak_granted * 1e6 / WINDOW_US);
	phase_figure(run, "stalled", run->pool->stats.stalled - p->before.stalled);
	if (p->refused == 0 && (storm->n > storm->fit || run_fault(run, FAULT_NO_LIMIT)))
		run_end(run, VERDICT_INVALID, "nobody was refused: %d clients, and all of them fit; raise option clients", storm->n);

	wave_check_guests(storm, wave, p, in_ms, guests_in_ledger(run) - ledger);
	wave_check_application(storm, wave, tally, rate, lasted_s);
}

/* ---------- The story ---------- */

/* All come at once. */
static void
come(Storm *storm)
{
	for (int i = 0; i < storm->n; i++)
		guest_ask(&storm->guests[i]);
}

/* A network that is cut: nobody says good-bye. */
static void
drop_sockets(Storm *storm)
{
	for (int i = 0; i < storm->n; i++)
	{
		Guest	   *guest = &storm->guests[i];

		if (guest->state != GUEST_INSIDE)
			continue;
		session_vanish(guest->request.session);
		guest_cut_off(guest);
	}
}

/*
 * All are cut off at once, by the server if it is ours to ask, and come again;
 * those who found no room before try it as well.
 */
static void
cut(Storm *storm)
{
	Run		   *run = storm->run;
	int		   *pids = palloc(sizeof(int) * MaxConnections);
	int			inside = storm->inside;

	storm->cut_off = 0;
	if (run->target->terminates)
		(void) sessions_terminate(run->parties[0].role, pids);
	else
		drop_sockets(storm);
	for (int i = 0; i < storm->n; i++)
		if (storm->guests[i].state == GUEST_OUTSIDE)
			guest_ask(&storm->guests[i]);
	wait_until(run, storm->cut_off >= inside, SETTLE_TIMEOUT_MS);
	pfree(pids);
	if (storm->cut_off < inside)
		run_end(run, VERDICT_INVALID, "only %d of %d sessions could be cut off", storm->cut_off, inside);
}

/* All go. */
static void
go(Storm *storm)
{
	Run		   *run = storm->run;
	int			keep = run_fault(run, FAULT_LEAVE_SESSION);
	int			n = storm->inside;
	int			left;
	Phase	   *p = phase(run, "go");

	for (int i = 0; i < storm->n; i++)
		if (storm->guests[i].state == GUEST_INSIDE && storm->inside > keep)
		{
			storm->inside--;
			storm->guests[i].state = GUEST_OUTSIDE;
			pool_release(&storm->guests[i].request);
		}
	poll_until(run, run_pool_state(run).ours <= storm->inside, RELEASE_TIMEOUT_MS);
	phase_end(run);
	left = run_pool_state(run).ours;
	phase_note(run, "%d closed in %.2f s, %s left", n - storm->inside, p->elapsed_us / 1e6,
			   left > 0 ? psprintf("%d", left) : "nothing");
	check_count(run, "sessions left when all have gone", 0, left,
				"sessions of the run are still there: pool_exhaust_backends shows their pids");
}

static Storm *
storm_cast(Run *run)
{
	Storm	   *storm = palloc0(sizeof(Storm));
	PoolState	truth = run_pool_state(run);
	int			fit = truth.capacity - truth.in_use;

	if (fit <= 0)
		run_end(run, VERDICT_INVALID, "nothing is left to storm: %d of %d connections are in use",
				truth.in_use, truth.capacity);
	storm->run = run;
	storm->n = run->options.clients > 0 ? (int) run->options.clients : fit * CROWD_PERCENT / 100 + 1;
	if (run_fault(run, FAULT_NO_LIMIT) && run->pool->driver->exclusive)
		storm->n = (fit + 1) / 2;
	storm->guests = palloc_extended(sizeof(Guest) * storm->n, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	random_stream(&storm->jitter, run->options.seed, RANDOM_RETRIES);
	for (int i = 0; i < storm->n; i++)
	{
		storm->guests[i].request.events = &guest_events;
		storm->guests[i].storm = storm;
		storm->guests[i].alarm.ring = guest_rung;
		storm->guests[i].alarm.owner = &storm->guests[i];
	}
	return storm;
}

static void
storm_play(Run *run)
{
	Storm	   *storm = storm_cast(run);

	calm(storm);
	storm->fit = storm_fit(storm);
	wave_ride(storm, &at_once, come);
	if (!check_failed(run))
		wave_ride(storm, &again, cut);
	go(storm);
}

static void
storm_require(const Options *options)
{
	require_time_for(options, options->baseline_ms);
}

const Scenario scenario_storm = {
	.name = "storm",
	.summary = "more clients than fit connect at once; all are cut off, and come again at once",
	.effect = "target server: takes every slot, for moments those that are reserved, too; "
	"target role: takes as many slots as option role_limit says; "
	"a foreign server: takes every connection that it lets in",
	.default_target = TARGET_SERVER,
	.targets = ON_SERVER | ON_ROLE | ON_POSTGRES | ON_PGBOUNCER,
	.parties = 2,
	.pools = 1,
	.embedded = 1 << 1,
	.logins = true,
	.options = (const OptionDefault[]) {
		{"clients", {0, 0, 0}},
		{"role_limit", {10, 20, 20}},
		{"handshakes", {200, 200, 200}},
		{"pool_size", {4, 4, 4}},
		{"pool_timeout_ms", {10 * 1000, 10 * 1000, 10 * 1000}},
		{"connect_timeout_ms", {5000, 5000, 5000}},
		{"work_ms", {5, 5, 5}},
		{"baseline_ms", {500, 10 * 1000, 60 * 1000}},
		{"response_limit_ms", {5000, 5000, 5000}},
		{"recovery_limit_ms", {10 * 1000, 30 * 1000, 60 * 1000}},
		{"keep_percent", {5, 5, 5}},
		{NULL}
	},
	.require = storm_require,
	.play = storm_play,
};

/*
 * backpressure.c
 *		There are more clients than connections: is each of them refused in time,
 *		in a way that it can act on, and is what the refusal says true?
 *
 * Over SQL where the pool is the run's own, and over HTTP: from the reference API
 * over that pool, or from the service that is the target of the run.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "event/descriptors.h"
#include "load/http/reference_api.h"
#include "load/target/endpoint.h"
#include "scenario/list.h"
#include "story/http_load.h"

#define RESOLVE_TIMEOUT_MS	(5 * 1000)
#define SQL_CLIENTS			4
#define FIRST_CLIENTS		4	/* of the first step over HTTP, doubled with each */
#define CLIENTS_MAX			10000
#define PROBE_MS			50	/* between two requests to liveness and to the other path */
#define ROUNDS				3	/* of all clients: if all of these are served, none is refused */

/* No answer within so many times the limit, and there will be none. */
#define DEADLINE_FACTOR		2

typedef struct Backpressure
{
	Run		   *run;
	HttpTarget	target;
	bool		own;			/* the reference API, and no other service */
	int			response_limit_ms;
	HttpLoad   *load;
	HttpLoad   *liveness;		/* these two NULL: there is no such path */
	HttpLoad   *other;
	double		other_p99_ms;	/* in the baseline */
} Backpressure;

/* Returns how long a request waits for its answer, in ms. */
static int
deadline_ms(const Backpressure *bp)
{
	return bp->response_limit_ms * DEADLINE_FACTOR;
}

static HttpLoad *
load_on(const Backpressure *bp, const char *path, const char *second, int clients, int timeout_ms, int pause_ms)
{
	return http_load_create(&(HttpLoadConfig) {
		.client = bp->run->http,
		.paths = {path, second},
		.clients = clients,
		.timeout_ms = timeout_ms,
		.pause_ms = pause_ms,
	});
}

static HttpLoad *
probe_begin(Backpressure *bp, const char *path, int timeout_ms)
{
	HttpLoad   *probe;

	if (path == NULL)
		return NULL;
	probe = load_on(bp, path, NULL, 1, timeout_ms, PROBE_MS);
	http_load_raise(probe, 1);
	return probe;
}

/* Begins the requests to liveness, and to the path that needs no connection. */
static void
probes_begin(Backpressure *bp)
{
	const Options *options = &bp->run->options;
	const HttpTarget *target = &bp->target;

	bp->liveness = probe_begin(bp, target->liveness_path, (int) options->latency_limit_ms);
	bp->other = probe_begin(bp, target->other_path, deadline_ms(bp));
}

/* One step of all loads; returns whether no request is under way. */
static bool
step(Backpressure *bp)
{
	HttpLoad   *loads[] = {bp->load, bp->liveness, bp->other};
	int			busy = 0;

	http_load_step(bp->run->http, loads, lengthof(loads));
	for (int i = 0; i < lengthof(loads); i++)
		busy += loads[i] != NULL ? loads[i]->busy : 0;
	return busy == 0;
}

/* Ends the loads, and waits for the requests under way. */
static void
stop(Backpressure *bp)
{
	HttpLoad   *loads[] = {bp->load, bp->liveness, bp->other};

	for (int i = 0; i < lengthof(loads); i++)
		if (loads[i] != NULL)
			loads[i]->stopped = true;
	wait_until(bp->run, step(bp), deadline_ms(bp) + (int) bp->run->options.latency_limit_ms + settle_ms(bp->run));
}

/* ---------- The service ---------- */

/* Both ends of each connection may be here. */
static void
raise_descriptors(Run *run)
{
	rlim_t		needed = 2 * run->options.clients + 4 * SPARE_DESCRIPTORS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
		return;
	if (limit.rlim_max < needed)
		run_end(run, VERDICT_INVALID, INT64_FORMAT " clients need %llu open files, but the server's hard limit is %llu: lower option clients, or raise the limit (LimitNOFILE of its service, ulimit -n)",
				run->options.clients, (unsigned long long) needed, (unsigned long long) limit.rlim_max);
	limit.rlim_cur = needed;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
}

/* Opens the reference API, and makes it the target. */
static void
serve(Backpressure *bp)
{
	Run		   *run = bp->run;
	const Options *options = &run->options;
	LoadConfig	work = load_of(run, &run->parties[0]);

	load_work(run, &work, options->work_ms);
	run->api = reference_api_open(&(ReferenceApiConfig) {
		.loop = &run->loop,
		.pool = run->parties[0].pool,
		.limited = run->parties[1].pool,
		.sql = work.sql,
		.timeout_ms = (int) options->pool_timeout_ms,
		.clients_max = (int) options->clients + SPARE_DESCRIPTORS,
		.fault = (Fault) options->fault,
	});
	bp->own = true;
	bp->response_limit_ms = (int) (options->pool_timeout_ms + options->tolerance_ms) + run_chaos_ms(run);
	bp->target = (HttpTarget) {
		.url = reference_api_url(run->api),
		.path = API_WORK,
		.liveness_path = API_LIVEZ,
		.other_path = API_OTHER,
	};
}

/* Ends the run as invalid if the service is where the caller may not aim. */
static void
require_allowed(Run *run)
{
	const char *what;
	const char *address = http_client_forbidden(run->http, &what);

	if (address == NULL)
		return;
	run->error_code = ERRCODE_INSUFFICIENT_PRIVILEGE;
	run_end(run, VERDICT_INVALID,
			"the service is at %s, %s, where only superusers may aim; give option url of the foreign server the address of a service, or let a superuser run this",
			address, what);
}

static void
connect_to(Backpressure *bp)
{
	Run		   *run = bp->run;

	raise_descriptors(run);
	run->http = http_client_open(&run->loop, &bp->target);
	wait_until(run, http_client_ready(run->http) || http_client_error(run->http) != NULL, run_patience(run, RESOLVE_TIMEOUT_MS));
	if (!http_client_ready(run->http))
		run_end(run, VERDICT_INVALID, "the host of the service could not be resolved: %s; check option url of the foreign server",
				http_client_error(run->http) != NULL ? http_client_error(run->http) : "no answer in time");
	require_allowed(run);
}

/* Ends the run as invalid if requests fail even without load. */
static void
require_served(Backpressure *bp, const HttpLoad *load)
{
	const HttpTally *tally;
	const char *path;

	if (load == NULL)
		return;
	tally = &load->tally;
	path = load->config.paths[0];
	if (http_tally_trouble(tally) == 0 && tally->served > 0)
		return;
	if (tally->first_failure != NULL)
		run_end(bp->run, VERDICT_INVALID, "GET %s gets no answer even without load: %s; start the service, or check option url of the foreign server", path, tally->first_failure);
	if (bp->own)
		run_end(bp->run, VERDICT_INVALID, "GET %s of the run's own API does not answer 200 even without load, but: %s; raise pool_timeout_ms beyond the %.0f ms of a login",
				path, http_tally_text(tally), bp->run->login_us / 1000.0);
	if (tally->nstatuses > 0 && tally->statuses[tally->nstatuses - 1] / 100 == 3)
		run_end(bp->run, VERDICT_INVALID, "GET %s is redirected (%d), and redirects are not followed: name the path that it leads to",
				path, tally->statuses[tally->nstatuses - 1]);
	run_end(bp->run, VERDICT_INVALID, "GET %s does not answer 200 even without load, but: %s; check the paths of the foreign server and the log of the service", path,
			tally->first_error != NULL ? tally->first_error : http_tally_text(tally));
}

static void
baseline(Backpressure *bp)
{
	Run		   *run = bp->run;

	phase(run, "baseline");
	connect_to(bp);
	bp->load = load_on(bp, bp->target.path, NULL, 1, deadline_ms(bp), 0);
	http_load_raise(bp->load, 1);
	probes_begin(bp);
	linger_until(run, (step(bp), http_tally_trouble(&bp->load->tally) > 0), run->options.baseline_ms);
	stop(bp);
	phase_end(run);
	phase_note(run, "%s: %s   %s", bp->target.path, http_tally_text(&bp->load->tally),
			   phase_latency(run, "response", &bp->load->tally.response));
	require_served(bp, bp->load);
	require_served(bp, bp->liveness);
	require_served(bp, bp->other);
	if (bp->other != NULL)
		bp->other_p99_ms = histogram_ms(&bp->other->tally.response, 0.99);
}

/* ---------- Over SQL ---------- */

/* Holds every connection of the pool, and as many of the second role as its limit allows. */
static void
fill(Run *run)
{
	Pool	   *limited = run->parties[1].pool;
	int			limit = (int) run->options.role_limit;

	phase(run, "fill");
	run_hold(run, run_capacity(run));
	run_hold_of(run, limited, limit);
	phase_end(run);
	phase_note(run, "%d of %d connections held, and %d of a role with CONNECTION LIMIT %d",
			   run->pool->stats.held, run_capacity(run), limit, limit);
}

/*
 * Returns "53300 role_limit", how the server refused the last login of this phase, also
 * if its client had timed out by then; may be palloc'd.
 */
static char *
refusal_text(const Run *run, const Pool *pool, const Tally *tally)
{
	const ConnectResult *last = &pool->last_failure;

	if (pool->failed_us < run->phase_us || tally->refused + tally->timed_out == 0)
		return "not refused";
	return psprintf("%s %s", last->sqlstate, last->cause != CAUSE_NONE ? cause_kinds[last->cause].name : "no cause");
}

/* Requests to the pool time out, and one beyond the role's limit is refused. */
static void
ask_over_sql(Run *run)
{
	const Options *options = &run->options;
	Load	   *load;
	Load	   *beyond;
	const Tally *tally;
	LoginCounts before = run_logins(run);
	int64		queued = options->max_waiting > 0 ? Min(options->max_waiting, SQL_CLIENTS) : SQL_CLIENTS;

	phase(run, "SQL");
	load = clients_start(run, 0, SQL_CLIENTS, 1, 0);
	beyond = clients_start(run, 1, 1, 1, 0);
	wait_until(run, load_is_over(load) && load_is_over(beyond), options->pool_timeout_ms + options->tolerance_ms);
	run_await_logins(run);
	phase_end(run);
	tally = &load->calm;
	phase_note(run, UINT64_FORMAT " timed out after %.0f to %.0f ms, " UINT64_FORMAT " refused by a full queue; beyond the role's limit: %s",
			   tally->timed_out, tally->shortest_timeout_us / 1000.0, tally->longest_timeout_us / 1000.0,
			   tally->refused, refusal_text(run, run->parties[1].pool, &beyond->calm));

	check_timed_out(run, "SQL", queued, tally);
	check_count(run, "SQL: refused by a full queue", SQL_CLIENTS - queued, tally->refused,
				tally->refused < SQL_CLIENTS - queued
				? "requests beyond max_waiting wait: the pool does not keep to that limit"
				: "requests that may wait were refused: see pool_exhaust_refused_services for logins that the server refused");
	check_timeout_times(run, "SQL", tally);
	check_text(run, "SQL: beyond the role's limit", "53300 role_limit",
			   refusal_text(run, run->parties[1].pool, &beyond->calm),
			   "the refusal does not say which limit it was: see pool_exhaust_refusals");
	check_logins_since(run, "SQL", &before);
}

static void
release(Run *run)
{
	phase(run, "release");
	for (int i = 0; i < run->nparties; i++)
		pool_release_many(run->parties[i].pool, run->parties[i].pool->stats.held);
	wait_until(run, run->parties[0].pool->stats.held == 0 && run->parties[1].pool->stats.held == 0, settle_ms(run));
	phase_note(run, "all connections are released");
	check_all_released(run, NULL, run->parties[0].pool->stats.held + run->parties[1].pool->stats.held);
}

/* ---------- Over HTTP ---------- */

/* One step; returns whether a request has ended without being served. */
static bool
refuses(Backpressure *bp)
{
	step(bp);
	return http_tally_trouble(&bp->load->tally) > 0;
}

/* More and more clients, until a request is refused; then that many for a while. */
static void
press(Backpressure *bp)
{
	Run		   *run = bp->run;
	const Options *options = &run->options;
	int			clients = Min(FIRST_CLIENTS, (int) options->clients);
	uint64		enough;
	const HttpTally *tally;

	phase(run, "press");
	bp->load = load_on(bp, bp->target.path, bp->own ? API_LIMITED : NULL, (int) options->clients, deadline_ms(bp), 0);
	probes_begin(bp);
	http_load_raise(bp->load, clients);
	linger_until(run, refuses(bp), options->level_ms);
	while (clients < options->clients && !refuses(bp))
	{
		clients = Min(clients * 2, (int) options->clients);
		http_load_raise(bp->load, clients);
		linger_until(run, refuses(bp), options->level_ms);
	}
	enough = bp->load->tally.ended + ROUNDS * clients;
	wait_until(run, refuses(bp) || bp->load->tally.ended >= enough, bp->response_limit_ms);
	linger_until(run, (step(bp), false), options->exhaust_ms);
	stop(bp);
	phase_end(run);
	tally = &bp->load->tally;
	bp->load->tally.refused += run_fault(run, FAULT_MISCOUNT);
	phase_figure(run, "clients", clients);
	phase_figure(run, "served_per_s", tally->served * 1e6 / run->phases[run->nphases - 1].elapsed_us);
	phase_note(run, "%d clients at once: %s   %s", clients, http_tally_text(tally), phase_latency(run, "response", &tally->response));
}

/* ---------- The claims on what was answered under load ---------- */

static const char *
or_none(const char *text)
{
	return text != NULL ? text : "none";
}

/* Each request has come to one end: what check_attempts() is for requests to a pool. */
static void
check_requests(Run *run, const HttpTally *tally)
{
	int64		left = (int64) (tally->asked - tally->served - tally->refused - tally->server_errors -
								tally->strange - tally->unanswered - tally->broken);

	check_count(run, "requests not accounted for", 0, left,
				psprintf(UINT64_FORMAT " requests, but %s: %s; this is a bug of pool_exhaust",
						 tally->asked, http_tally_text(tally),
						 left > 0 ? "some came to no end" : "some ends were counted twice"));
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
	check_was_of_time(run);
	check_requests(run, tally);
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

/* Each request to that path has been served; returns whether there is such a path. */
static bool
check_probe(Run *run, const HttpLoad *probe, const char *name, const char *option, const char *meaning)
{
	const char *failure;

	if (probe == NULL)
	{
		check_skip(run, name, psprintf("the foreign server has no option %s", option));
		return false;
	}
	failure = probe->tally.first_failure;
	check_count(run, name, 0, http_tally_trouble(&probe->tally),
				psprintf("%s; it answered: %s%s%s", meaning, http_tally_text(&probe->tally),
						 failure != NULL ? ", " : "", failure != NULL ? failure : ""));
	return true;
}

/* The answers of that path were no slower than the limit: what is later than a run that is as late proves nothing. */
static void
check_slowest(Run *run, const char *name, double limit_ms, double observed_ms, const char *meaning)
{
	check_at_most(run, name, limit_ms, observed_ms, "ms", meaning);
	if (observed_ms > limit_ms)
		check_was_of_delay(run, (uint64) ((observed_ms - limit_ms) * 1000));
}

/*
 * Liveness is answered, or a supervisor would restart a service that is merely busy;
 * what does not need the database is as it was.
 */
static void
check_probes(const Backpressure *bp)
{
	const Options *options = &bp->run->options;

	if (check_probe(bp->run, bp->liveness, "liveness: not 200", "liveness_path",
					"a supervisor restarts a service that is merely busy: it must not need the database, nor a worker that waits for it"))
		check_slowest(bp->run, "liveness: slowest answer", options->latency_limit_ms,
					  histogram_max_ms(&bp->liveness->tally.response),
					  "all workers wait for the database: limit how many may, so that some are left");
	if (check_probe(bp->run, bp->other, "other path: not served", "other_path",
					"what needs no connection fails for lack of one"))
		check_slowest(bp->run, "other path: p99", bp->other_p99_ms + options->tolerance_ms,
					  histogram_ms(&bp->other->tally.response, 0.99),
					  "what needs no connection waits behind what does: all workers are taken, limit how many may wait for the pool");
}

/* Repeats a refused request after the time that its Retry-After says: it must be served. */
static void
retry(Backpressure *bp, HttpRefusalKind kind)
{
	Run		   *run = bp->run;
	const HttpRefusal *refusal = &bp->load->tally.refusals[kind];
	uint64		at_us = refusal->at_us + refusal->retry_after_s * UINT64CONST(1000000);
	HttpRequest *request = palloc0(sizeof(HttpRequest));
	const char *answer;

	if (refusal->at_us == 0 || refusal->retry_after_s * 1000 > run->options.recovery_limit_ms)
		return;
	phase(run, "retry");
	wait_until(run, loop_now_us() >= at_us, refusal->retry_after_s * 1000);
	http_ask(run->http, request, refusal->path, deadline_ms(bp));
	wait_until(run, http_client_take(run->http) != NULL, deadline_ms(bp) + settle_ms(run));
	answer = request->reply.end == HTTP_ANSWERED ? psprintf("%d", request->reply.status) : http_end_names[request->reply.end];
	phase_note(run, "%d s after a %d %s answers %s", refusal->retry_after_s, http_refusal_status[kind], refusal->path, answer);
	check_text(run, psprintf("status of the retry after %d", http_refusal_status[kind]), "200", answer,
			   request->reply.end == HTTP_ANSWERED
			   ? "Retry-After is too short: a request after that time, with all the load gone, is refused again"
			   : psprintf("a request after that time, with all the load gone, has no answer within %d ms", deadline_ms(bp)));
	check_was_of_time(run);
}

static void
backpressure_play(Run *run)
{
	Backpressure *bp = palloc0(sizeof(Backpressure));

	bp->run = run;
	bp->response_limit_ms = (int) run->options.response_limit_ms;
	run_disturb(run, CHAOS_GENTLE); /* what is held stays so, and each request is answered */
	if (run->endpoint != NULL)
		bp->target = run->endpoint->http;
	else
		serve(bp);
	baseline(bp);
	if (bp->own)
	{
		fill(run);
		ask_over_sql(run);
	}
	press(bp);
	check_answers(bp);
	check_refusals(bp);
	check_probes(bp);
	if (http_tally_trouble(&bp->load->tally) == 0 && !check_failed(run))
		run_end(run, VERDICT_INVALID, "no request was refused, and all were served in time, with %d clients at once: raise option clients",
				bp->load->ncallers);
	if (bp->own)
		release(run);
	for (int kind = 0; kind < HTTP_REFUSALS; kind++)
		retry(bp, kind);
}

static void
backpressure_require(const Options *options)
{
	require_time_for(options, options->baseline_ms + options->exhaust_ms + 2 * options->pool_timeout_ms);
	if (options->role_limit >= options->pool_size + options->max_overflow)
		options_contradict("Lower role_limit, or raise pool_size or max_overflow.",
						   "a pool of " INT64_FORMAT " connections never comes to a role_limit of " INT64_FORMAT,
						   options->pool_size + options->max_overflow, options->role_limit);
	if (options->clients > CLIENTS_MAX)
		options_contradict("Lower clients.", "scenario \"backpressure\" has no more than %d clients", CLIENTS_MAX);
}

const Scenario scenario_backpressure = {
	.name = "backpressure",
	.summary = "more clients than connections, over SQL and over HTTP: each is refused in time, and with the right cause",
	.effect = "opens pool_size + max_overflow connections and role_limit more; of an HTTP service: up to option clients requests at once",
	.default_target = TARGET_POOL,
	.targets = ON_POOL | ON_HTTP,
	.parties = 2,
	.limited = 1,
	.options = (const OptionDefault[]) {
		{OPTION_pool_size, {2, 2, 2}},
		{OPTION_max_overflow, {1, 1, 1}},
		{OPTION_pool_timeout_ms, {400, 2000, 2000}},
		POOL_OPTIONS,
		{OPTION_role_limit, {1, 1, 1}},
		{OPTION_clients, {64, 256, 1024}},
		{OPTION_work_ms, {5, 5, 5}},
		{OPTION_baseline_ms, {200, 2000, 10 * 1000}},
		{OPTION_level_ms, {300, 1000, 5000}},
		{OPTION_exhaust_ms, {400, 10 * 1000, 3600 * 1000}},
		{OPTION_tolerance_ms, {300, 300, 300}},
		{OPTION_response_limit_ms, {5000, 5000, 5000}},
		{OPTION_latency_limit_ms, {1000, 1000, 1000}},
		{OPTION_recovery_limit_ms, {30 * 1000, 30 * 1000, 30 * 1000}},
		{OPTION_END}
	},
	.require = backpressure_require,
	.play = backpressure_play,
};

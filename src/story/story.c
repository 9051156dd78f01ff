/*
 * story.c
 *		The words that stories are told in.
 */
#include "postgres.h"

#include <math.h>

#include <sys/resource.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/text.h"
#include "observe/slots/ledger.h"
#include "story/story.h"

/* Samples are taken this often, but take no more than their share of the time. */
#define SAMPLE_US		(10 * 1000)
#define SAMPLE_SHARE	1000

/*
 * The figures of a foreign server in a sample are not much older, but it spends no more
 * than its share of the time on them: where it has many sessions an answer is long.
 */
#define ASKED_US		(100 * 1000)
#define ASKED_SHARE		20

#define POLL_END_US		(100 * 1000)

/* A phase that takes longer has a line on its progress that often. */
#define SAY_US			(10 * INT64CONST(1000000))

/* Of a path of health that goes up and down for hours only the beginning is kept. */
#define HEALTH_PATH_MAX	1024

const char *const outcome_names[] = {OUTCOME_LIST(LIST_WORD)};

/* Ends a text that was cut to "size" bytes, for it has len, in a sign of that. */
static void
mark_cut(char *text, int size, int len)
{
	const char *mark = GetDatabaseEncoding() == PG_UTF8 ? "…" : "...";
	int			room = size - 1 - strlen(mark);

	if (len >= size)
		strcpy(text + pg_mbcliplen(text, size - 1, room), mark);
}

/*
 * Ends the story here with a verdict that no check gave: invalid, because the
 * experiment could prove nothing, or aborted.  If the machine was too busy, or the
 * server's clock was set, the reason of the former says so, and that of a run whose
 * time was over.
 */
void
run_end(Run *run, Verdict verdict, const char *fmt,...)
{
	va_list		args;
	int			len;

	va_start(args, fmt);
	len = vsnprintf(run->reason, sizeof(run->reason), fmt, args);
	va_end(args);
	if (verdict == VERDICT_INVALID || loop_now_us() >= run->deadline_us)
		len = run_add_excuse(run, len);
	mark_cut(run->reason, sizeof(run->reason), len);
	text_make_printable(run->reason);
	run->verdict = verdict;
	ereport(ERROR,
			(errcode(ERRCODE_OPERATOR_INTERVENTION),
			 errmsg("%s: %s", verdict_names[verdict], run->reason)));
}

/* Returns whether the run has that deliberate fault. */
bool
run_fault(const Run *run, Fault fault)
{
	return run->options.fault == fault;
}

/*
 * Opens a session of the service beside those of its pool; the clean-up closes it
 * if the story does not.  It is scripted, so chaos leaves it alone.
 */
void
run_open_session(Run *run, const RunParty *party, Session *session,
				 const SessionEvents *events, void *owner)
{
	if (run->nloose >= LOOSE_MAX)
		elog(ERROR, "a scenario opens more than %d sessions of its own", LOOSE_MAX);
	run->loose[run->nloose++] = session;
	session->spared = true;
	session_open(session, &run->loop, party->login, login_ms(run), events, owner);
}

/* Adds a line for the caller that waits for the run; what does not fit ends in "…". */
void
run_say(Run *run, const char *fmt,...)
{
	char		line[RUN_LINE_LEN];
	RunEntry   *entry = run->entry;
	va_list		args;

	va_start(args, fmt);
	mark_cut(line, sizeof(line), vsnprintf(line, sizeof(line), fmt, args));
	va_end(args);
	text_make_printable(line);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(entry->lines[entry->lines_written % RUN_LINES], line, RUN_LINE_LEN);
	entry->lines_written++;
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&entry->changed);
}

/*
 * Sets what pool_exhaust_progress shows until the next phase: "done", which is read
 * at each turn of the loop, of "total"; NULL: nothing.
 */
void
run_progress(Run *run, const int *done, int total)
{
	run->done = done;
	pg_atomic_write_u32(&run->entry->done, done != NULL ? *done : 0);
	pg_atomic_write_u32(&run->entry->total, total);
}

/* From now on the phase goes on for that long, for its lines on progress. */
void
phase_lasts(Run *run, int64 ms)
{
	run->over_us = loop_now_us() + ms * 1000;
}

/* Says how far the phase is: "churn    200 of 3300, 10 s so far, 20 s left", as far as that is known. */
static void
say_progress(Run *run, uint64 now_us)
{
	const Phase *p = &run->phases[run->nphases - 1];
	char		part[32] = "";
	char		left[32] = "";

	run->say_us = now_us + SAY_US;
	if (run->done != NULL)
		snprintf(part, sizeof(part), "%d of %u, ", *run->done, pg_atomic_read_u32(&run->entry->total));
	if (run->over_us > now_us)
		snprintf(left, sizeof(left), ", %.0f s left", (run->over_us - now_us) / 1e6);
	run_say(run, "%-8s %s%.0f s so far%s", p->name, part, (now_us - p->started_us) / 1e6, left);
}

static uint64
cpu_now_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
		usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Begins a phase, ends the one before it, and returns it.  The name must outlive the run. */
Phase *
phase(Run *run, const char *name)
{
	Phase	   *p;

	phase_end(run);
	if (run->nphases >= PHASES_MAX)
		elog(ERROR, "a scenario has more than %d phases", PHASES_MAX);

	p = &run->phases[run->nphases++];
	p->name = name;
	p->started_us = run->phase_us = loop_now_us();
	p->cpu_us = cpu_now_us();
	if (run->pool != NULL)
	{
		p->before = run->pool->stats;
		run->pool->latency = &p->latency;
	}
	run_progress(run, NULL, 0);
	run->over_us = 0;
	run->say_us = p->started_us + SAY_US;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(run->entry->phase, name, NAMEDATALEN);
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&run->entry->changed);
	return p;
}

/* Ends the phase, with its sentence for the report; the caller that waits gets it at once. */
void
phase_note(Run *run, const char *fmt,...)
{
	Phase	   *p = &run->phases[run->nphases - 1];
	char		text[256];
	va_list		args;

	phase_end(run);
	va_start(args, fmt);
	mark_cut(text, sizeof(text), vsnprintf(text, sizeof(text), fmt, args));
	va_end(args);
	text_make_printable(text);
	p->note = MemoryContextStrdup(run->context, text);
	run_say(run, "%-8s %s", p->name, p->note);
}

/* Adds a number of the phase to the summary of the run; null if it is not finite. */
void
phase_figure(Run *run, const char *name, double value)
{
	StringInfo	figures = &run->phases[run->nphases - 1].figures;
	MemoryContext old = MemoryContextSwitchTo(run->context);

	if (figures->data == NULL)
		initStringInfo(figures);
	appendStringInfo(figures, "%s\"%s\": %s", figures->len > 0 ? ", " : "", name,
					 isfinite(value) ? psprintf("%.9g", value) : "null");
	MemoryContextSwitchTo(old);
}

/* Leaves that time out of the duration of the phase. */
void
phase_paused(Run *run, uint64 us)
{
	run->phases[run->nphases - 1].paused_us += us;
}

/* Keeps a latency of the phase for the results. */
static void
latency_keep(Run *run, const char *metric, const Histogram *h)
{
	MemoryContext old = MemoryContextSwitchTo(run->context);
	PhaseLatency *latency = palloc(sizeof(PhaseLatency));
	int64	   *pairs = palloc(sizeof(int64) * 2 * HISTOGRAM_BUCKETS);

	latency->phase = run->phases[run->nphases - 1].name;
	latency->metric = metric;
	latency->n = histogram_pairs(h, pairs);
	latency->pairs = repalloc(pairs, sizeof(int64) * 2 * Max(latency->n, 1));
	run->latencies = lappend(run->latencies, latency);
	MemoryContextSwitchTo(old);
}

/*
 * Keeps a latency that the phase has measured for the results, if there is any: a
 * copy.  "metric" is constant: grant (by the pool), wait (for a connection), connect,
 * query, response.  Returns latency_text() of it.
 */
char *
phase_latency(Run *run, const char *metric, const Histogram *h)
{
	if (h->count > 0)
		latency_keep(run, metric, h);
	return latency_text(h);
}

/* Stops the clock of the phase, if one runs, and adds up its figures. */
void
phase_end(Run *run)
{
	Phase	   *p;

	if (run->nphases == 0 || run->phases[run->nphases - 1].elapsed_us != 0)
		return;
	p = &run->phases[run->nphases - 1];
	p->elapsed_us = Max(loop_now_us() - p->started_us - p->paused_us, 1);
	p->cpu_us = cpu_now_us() - p->cpu_us;
	if (run->pool != NULL)
	{
		if (run->pool->type->queues)
			run_sample(run);	/* what happened since the last one belongs to it */
		p->granted = run->pool->stats.granted - p->before.granted;
		p->refused = run->pool->stats.refused - p->before.refused;
		p->timed_out = run->pool->stats.timed_out - p->before.timed_out;
		phase_latency(run, "grant", &p->latency);
	}
}

/* Adds to "healthy > warning > ...". */
void
health_path_add(StringInfo path, Health health)
{
	if (path->len <= HEALTH_PATH_MAX)
		appendStringInfo(path, "%s%s", path->len > 0 ? " > " : "", health_names[health]);
}

/* Each service's pool is judged; the timeline is of the first one. */
static void
sample_parties(Run *run, PoolState *truth)
{
	for (int i = run->nparties - 1; i >= 0; i--)
	{
		Pool	   *pool = run->parties[i].pool;
		uint64		age_us = Max(ASKED_US, ASKED_SHARE * pool_answered_in_us(pool));

		(void) pool_refresh(pool, loop_now_us() - Min(age_us, loop_now_us()));	/* for the next one */
		pool_read_state(run->parties[i].pool, truth);
		party_sample(&run->parties[i], truth);
	}
}

/* Returns the time by the server's clock, as if that was not set since the run began. */
TimestampTz
run_now(const Run *run)
{
	return run->started_at + (TimestampTz) (loop_now_us() - run->started_us);
}

/* Takes a sample of the pool now, judges its health and returns it. */
Health
run_sample(Run *run)
{
	HealthJudge *judge = &run->parties[0].judge;
	Health		before = judge->health;
	PoolStats  *stats = &run->pool->stats;
	Histogram  *latency = run->pool->latency;
	PoolState	truth;
	Sample		sample = {.at = run_now(run)};
	uint64		begun_us = loop_now_us();
	uint64		now_us;

	sample_parties(run, &truth);
	sample.health = judge->health;
	if (run->health_path.len == 0 || sample.health != before)
		health_path_add(&run->health_path, sample.health);

	sample.in_use = truth.in_use;
	sample.waiting = truth.waiting;
	sample.granted = stats->granted;
	sample.refused = stats->refused;
	sample.timed_out = stats->timed_out;
	if (latency != NULL && latency->count > 0)
	{
		sample.p50_ms = histogram_ms(latency, 0.50);
		sample.p99_ms = histogram_ms(latency, 0.99);
	}
	run->series.capacity = truth.capacity;
	samples_add(&run->series, &sample);
	now_us = loop_now_us();
	run->sample_us = now_us + Max(SAMPLE_US, (now_us - begun_us) * SAMPLE_SHARE);
	return sample.health;
}

/* Returns the refusals of the run's roles by the ledger. */
int64
run_refusals_in_ledger(const Run *run)
{
	int64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		sum += pg_atomic_read_u64(&run->entry->refused[i]);
	return sum;
}

/*
 * Returns how many clients of others were refused for lack of slots since the run
 * began.  All are read before the run's own, which are counted in the other order;
 * so it is never one too many.
 */
static int64
others_refused(const Run *run)
{
	int64		all = (int64) (ledger_slot_refusals_ever() - run->refused_before);
	int64		ours = run->own_refused;

	pg_read_barrier();
	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			ours += pg_atomic_read_u64(&run->entry->refused[i]);
	return all - ours;
}

/* Returns why the run must end, wherever its story is; NULL if it may go on. */
static const char *
why_end(Run *run)
{
	uint32		stop = pg_atomic_read_u32(&run->entry->stop);
	uint64		now_us = loop_now_us();

	if (stop != STOP_NONE)
		return stop_reasons[stop];
	if (ShutdownRequestPending)
		return "the runner was asked to terminate";
	if (now_us >= run->deadline_us)
		return psprintf("not %s within " INT64_FORMAT " ms (option timeout_ms)",
						request_is_hold(&run->request) ? "all there" : "over",
						(int64) (run->deadline_us - run->started_us) / 1000);
	if (now_us < run->poll_end_us)
		return NULL;
	run->poll_end_us = now_us + POLL_END_US;
	return run->poll_end(run);
}

/* Returns whether the run, a Run *, must end; for callbacks that cannot throw. */
bool
run_must_end(void *run)
{
	return why_end(run) != NULL;
}

/* Ends the story as aborted if the run is stopped, canceled, or out of time. */
void
run_end_if_must(Run *run)
{
	const char *why = why_end(run);

	if (why != NULL)
		run_end(run, VERDICT_ABORTED, "%s", why);
}

/* Does it use up what all clients of the server share? */
static bool
run_is_exclusive(const Run *run)
{
	for (int i = 0; i < run->nparties; i++)
		if (run->parties[i].pool != NULL && run->parties[i].pool->type->exclusive)
			return true;
	return false;
}

/*
 * Ends the run if it makes the server refuse others, unless that was asked for; and
 * before it does, if that could not be seen.
 */
static void
protect_bystanders(Run *run)
{
	if (!run_is_exclusive(run) || run->options.bystanders == BYSTANDERS_IGNORE)
		return;
	if (!request_is_hold(&run->request) && ledger_was_blind(REFUSED_BACKEND, run->started_at))
		run_end(run, VERDICT_INVALID, LEDGER_BLIND);
	if (others_refused(run) > 0)
		run_end(run, VERDICT_ABORTED, "another client was refused a slot (option bystanders = %s)",
				run->options.bystanders == BYSTANDERS_ABORT ? "abort" : "refuse");
}

static int
connections_held(const Run *run)
{
	int			held = 0;

	for (int i = 0; i < run->nparties; i++)
		held += run->parties[i].pool->stats.held;
	return held;
}

/*
 * One turn of a wait: ends the story if the run must end, otherwise turns the
 * loop once, for at most turn_ms.  Returns false when the time, end_us, is over;
 * what the story must have had by then, it has not had for want of time.
 */
bool
wait_turn(Run *run, uint64 end_us, int turn_ms, bool must)
{
	uint64		now_us = loop_now_us();

	run_end_if_must(run);
	protect_bystanders(run);
	if (run->done != NULL)
		pg_atomic_write_u32(&run->entry->done, *run->done);
	if (run->nphases > 0 && run->hold == NULL && now_us >= run->say_us)
		say_progress(run, now_us);
	if (run->pool != NULL && run->hold == NULL)
	{
		pg_atomic_write_u32(&run->entry->connections, connections_held(run));
		if (now_us >= run->sample_us)
			run_sample(run);
		run_publish(run);
	}
	if (now_us >= end_us)
	{
		run->out_of_time |= must;
		return false;
	}
	loop_turn(&run->loop, turn_ms);
	run_publish(run);
	return true;
}

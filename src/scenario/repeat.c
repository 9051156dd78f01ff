/*
 * repeat.c
 *		Is a run slower than others were?  It is repeated, and if it is asked for
 *		anything else than the run that it is compared with, that one is, too: in turns,
 *		so that both meet the same machine.
 *
 * A latency that is a suspect in view pool_exhaust_trends regressed if these runs have
 * it slower, too.  So one comparison decides on each suspect; without a suspect all
 * latencies are compared, and the p values corrected for how many these are.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/text.h"
#include "scenario/repeat.h"
#include "sql/statement.h"
#include "story/sub_runs.h"

#define P_LIMIT			0.01	/* as in the view */
#define BASE_RUNS		20
#define RETRY_TURN_MS	100
#define PATIENCE_US		(60 * 1000 * 1000)	/* for other runs to end */

typedef struct Repeat
{
	Run		   *run;
	bool		in_turns;		/* or else the base are runs of before */
	int			done;
	const char *suspects;		/* "\nenvironment metric\n..." */
	char	   *bases;			/* ids, as an array */
	char	   *candidates;
} Repeat;

/* A latency of the candidates against that of the base. */
typedef struct Shift
{
	const char *metric;
	const char *unit;
	double		median;			/* of the base */
	double		latest;			/* median of the candidates */
	double		noise;
	double		p;
	double		corrected_p;
	int			moved;			/* 1: it is larger, -1: smaller, by enough */
	bool		known;			/* both have it, and it can be compared */
	bool		suspect;
} Shift;

/* Returns of how many runs one with these options is made at the most: itself, or those that it starts. */
int64
repeat_runs_max(const Options *options)
{
	return Max(options->against > 0 ? 2 * options->repeat : options->repeat, 1);
}

/* Returns how long it may take: as long as each of those may, one after the other. */
int64
repeat_time_ms(const RunRequest *request, const Options *options)
{
	return Min(options->timeout_ms * repeat_runs_max(options), request->time_max_ms);
}

/* ---------- The runs ---------- */

static void
sub_run_add(Repeat *repeat, RunPart part, int pair)
{
	Run		   *run = repeat->run;

	run->sub_runs[run->nsub_runs++] = (SubRun) {
		.scenario = run->scenario,
		.target = run->request.target,
		.part = part,
		.seed_step = pair,
	};
}

/* Base and candidate in turns, with the same seed; the first pair begins with the base, the next with the candidate. */
static Repeat *
repeat_make(Run *run)
{
	Repeat	   *repeat = palloc0(sizeof(Repeat));

	repeat->run = run;
	repeat->in_turns = run->options.against > 0 && run->sub_run_methods->base_differs(run);
	run->sub_runs = palloc0(sizeof(SubRun) * repeat_runs_max(&run->options));
	for (int pair = 0; pair < run->options.repeat; pair++)
	{
		if (repeat->in_turns && pair % 2 == 0)
			sub_run_add(repeat, PART_BASE, pair);
		sub_run_add(repeat, PART_CANDIDATE, pair);
		if (repeat->in_turns && pair % 2 == 1)
			sub_run_add(repeat, PART_BASE, pair);
	}
	return repeat;
}

static const char *
part_name(const SubRun *sub_run)
{
	return sub_run->part == PART_BASE ? "base" : "candidate";
}

/* Ends this run as invalid if that one has proved nothing. */
static void
require_proved(Run *run, const SubRun *sub_run)
{
	if (sub_run->verdict == VERDICT_PASS || sub_run->verdict == VERDICT_FAIL)
		return;
	run->too_busy |= sub_run->too_busy;
	run_end(run, VERDICT_INVALID, "run " INT64_FORMAT ", %s: %s: %s", sub_run->run_id, part_name(sub_run),
			verdict_names[sub_run->verdict], sub_run->reason);
}

/* Runs it from its beginning to its end. */
static void
sub_run_play(Run *run, SubRun *sub_run)
{
	const SubRunMethods *methods = run->sub_run_methods;
	uint64		patient_us = loop_now_us() + PATIENCE_US;
	SubRunStart start;

	while ((start = methods->start(run, sub_run)) == SUB_RUN_NOT_NOW && loop_now_us() < patient_us)
		wait_turn(run, run->deadline_us, RETRY_TURN_MS, false);
	if (start != SUB_RUN_STARTED)
		run_end(run, VERDICT_INVALID, "a run could not be started: %s", sub_run->reason);
	while (sub_run->state != SUB_RUN_OVER)
	{
		wait_turn(run, run->deadline_us, EVENT_TURN_MS, false);
		methods->update(run, sub_run);
	}
	run_say(run, "%-10s run " INT64_FORMAT "  %-8s %.2f s", part_name(sub_run), sub_run->run_id,
			verdict_names[sub_run->verdict], (sub_run->ended_us - sub_run->started_us) / 1e6);
	require_proved(run, sub_run);
}


/* ---------- What they are compared with ---------- */

static char *
ids_of(const Run *run, RunPart part)
{
	StringInfoData ids;

	initStringInfo(&ids);
	for (int i = 0; i < run->nsub_runs; i++)
		if (run->sub_runs[i].part == part)
			appendStringInfo(&ids, "%s" INT64_FORMAT, ids.len > 0 ? "," : "{", run->sub_runs[i].run_id);
	appendStringInfoString(&ids, ids.len > 0 ? "}" : "{}");
	return ids.data;
}

/* Returns the latest runs before the first candidate, up to that of option against, which have its environment: their ids, as an array. */
static char *
ids_before(Run *run)
{
	int64		first = run->sub_runs[0].run_id;
	int64		last = run->options.against > 0 ? run->options.against : first - 1;

	return query_text(run, psprintf("SELECT pg_catalog.array_agg(id) FROM (SELECT r.id FROM @.pool_exhaust_runs r, @.pool_exhaust_runs c "
							   "WHERE c.id = " INT64_FORMAT " AND r.id <= " INT64_FORMAT " AND r.verdict IN ('pass', 'fail') "
							   "AND r.scenario = c.scenario AND r.target = c.target AND r.environment = c.environment - 'repeat' "
							   "ORDER BY r.id DESC LIMIT %d) AS latest", first, last, BASE_RUNS));
}

/* What is a suspect before these runs are a part of the trend. */
static void
read_suspects(Repeat *repeat)
{
	repeat->suspects = query_text(repeat->run,
								  psprintf("SELECT E'\\n' || pg_catalog.string_agg(environment || ' ' || metric, E'\\n') || E'\\n' "
										   "FROM @.pool_exhaust_trends WHERE scenario = %s AND target = %s AND verdict IN ('suspect', 'regressed')",
										   quote_literal_cstr(repeat->run->scenario->name),
										   quote_literal_cstr(repeat->run->request.target_name)));
}

static const char *
environment_of(Run *run, int64 run_id)
{
	return query_text(run, psprintf("SELECT pg_catalog.left(pg_catalog.md5((environment - 'repeat')::text), 8) FROM @.pool_exhaust_runs WHERE id = " INT64_FORMAT, run_id));
}

/* The id of a run of the candidate. */
static int64
candidate_id(const Run *run)
{
	int			i = 0;

	while (run->sub_runs[i].part != PART_CANDIDATE)
		i++;
	return run->sub_runs[i].run_id;
}

/* ---------- The phase ---------- */

/* Ends the run as invalid once it is known that there is nothing to compare its runs with. */
static void
find_base(Repeat *repeat)
{
	repeat->bases = ids_before(repeat->run);
	if (repeat->bases[0] == '\0')
		run_end(repeat->run, VERDICT_INVALID, "there is no run of this environment before these to compare them with: view pool_exhaust_trends has those that there are");
}

static void
play_all(Repeat *repeat)
{
	Run		   *run = repeat->run;

	phase(run, "repeat");
	run_progress(run, &repeat->done, run->nsub_runs);
	while (repeat->done < run->nsub_runs)
	{
		sub_run_play(run, &run->sub_runs[repeat->done++]);
		if (!repeat->in_turns && repeat->bases == NULL)
			find_base(repeat);
	}
	repeat->candidates = ids_of(run, PART_CANDIDATE);
	if (repeat->in_turns)
		repeat->bases = ids_of(run, PART_BASE);
	phase_note(run, "runs %s against %s", repeat->candidates, repeat->bases);
	phase_end(run);
}

/* ---------- The comparison ---------- */

static double
field_number(int row, int column)
{
	const char *text = statement_text(row, column);

	return text[0] != '\0' ? strtod(text, NULL) : 0;
}

/*
 * Returns the shift of each latency, "n" of them, of the run.  Runs that take turns meet
 * the same machine; others are compared also as the calibrations of both scale them.
 */
static Shift *
read_shifts(Repeat *repeat, int *n)
{
	Run		   *run = repeat->run;
	const char *environment = environment_of(run, candidate_id(run));
	Extension	extension;
	Shift	   *shifts;

	transaction_begin();
	extension_require(&extension);
	statement_run(&extension,
				  psprintf("SELECT metric, unit, median, latest, noise, p, corrected_p, moved FROM @.pool_exhaust_shifts('%s', '%s', %s) "
						   "WHERE latest IS NOT NULL ORDER BY metric COLLATE \"C\"", repeat->bases, repeat->candidates,
						   repeat->in_turns ? "false" : "true"),
				  SPI_OK_SELECT, 0, NULL, NULL);
	*n = (int) SPI_processed;
	shifts = MemoryContextAllocZero(run->context, sizeof(Shift) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		shifts[i] = (Shift) {
			.metric = MemoryContextStrdup(run->context, statement_text(i, 1)),
			.unit = MemoryContextStrdup(run->context, statement_text(i, 2)),
			.median = field_number(i, 3),
			.latest = field_number(i, 4),
			.noise = field_number(i, 5),
			.p = field_number(i, 6),
			.corrected_p = field_number(i, 7),
			.moved = (int) field_number(i, 8),
			.known = statement_text(i, 6)[0] != '\0',
		};
	transaction_commit();
	MemoryContextSwitchTo(run->context);
	for (int i = 0; i < *n; i++)
		shifts[i].suspect = strstr(repeat->suspects, psprintf("\n%s %s\n", environment, shifts[i].metric)) != NULL;
	return shifts;
}

/* "120 us, 80 us in the base, with a noise of 4 us, p 0.008", palloc'd. */
static char *
shift_text(const Shift *shift, double p)
{
	return psprintf("%s %s, %s %s in the base, with a noise of %s %s, p %s", number_text(shift->latest), shift->unit,
					number_text(shift->median), shift->unit, number_text(shift->noise), shift->unit, number_text(p));
}

static void
check_shift(Run *run, const Shift *shift, double p)
{
	bool		moved = p < P_LIMIT && shift->moved != 0;
	const char *expected = moved && shift->moved < 0 ? "improved" : "steady";

	if (!shift->known)
		check_skip(run, shift->metric, "the base has too few runs with it");
	else
		check_words(run, shift->metric, expected, moved && shift->moved > 0 ? "regressed" : expected, shift_text(shift, p));
}

/* Returns the least p value that so many runs can come to: one sample wholly above the other. */
static double
least_p(int nbase, int ncandidate)
{
	double		ways = 1;

	for (int i = 1; i <= ncandidate; i++)
		ways = ways * (nbase + i) / i;
	return 2 / ways;
}

static int
ids_count(const char *ids)
{
	int			n = 1;

	for (const char *c = ids; *c != '\0'; c++)
		n += *c == ',';
	return n;
}

/* Can so many runs show one of "n" latencies to be slower? */
static bool
can_show(int n, int nbase, int ncandidate)
{
	return n * least_p(nbase, ncandidate) < P_LIMIT;
}

/*
 * Returns how many would be enough, palloc'd.  Of runs in turns it takes more of both, or
 * else more of the base, as far as that goes, and then more of these.
 */
static char *
power_advice(const Repeat *repeat, int n, int nbase, int ncandidate)
{
	int			base = nbase;
	int			candidate = ncandidate;

	while (!can_show(n, base, candidate) && (repeat->in_turns || base < BASE_RUNS))
	{
		base++;
		candidate += repeat->in_turns;
	}
	while (!can_show(n, base, candidate))
		candidate++;
	if (repeat->in_turns || base == nbase)
		return psprintf("raise option repeat to %d", candidate);
	if (candidate == ncandidate)
		return psprintf("the runs before these must be %d", base);
	return psprintf("the runs before these must be %d, and option repeat %d", base, candidate);
}

/* Ends the run as invalid if so few runs cannot show any of "n" latencies to be slower. */
static void
require_power(Repeat *repeat, int n)
{
	int			nbase = ids_count(repeat->bases);
	int			ncandidate = ids_count(repeat->candidates);

	if (!can_show(n, nbase, ncandidate))
		run_end(repeat->run, VERDICT_INVALID, "%d runs against %d cannot show whether one of %d latencies is slower: %s",
				ncandidate, nbase, n, power_advice(repeat, n, nbase, ncandidate));
}

/* One check for each suspect, or else for each latency. */
static void
check_shifts(Repeat *repeat)
{
	Run		   *run = repeat->run;
	bool		suspects = false;
	int			n;
	Shift	   *shifts = read_shifts(repeat, &n);

	for (int i = 0; i < n; i++)
		suspects |= shifts[i].suspect;
	require_power(repeat, suspects ? 1 : n);
	for (int i = 0; i < n; i++)
		if (shifts[i].suspect || !suspects)
			check_shift(run, &shifts[i], suspects ? shifts[i].p : shifts[i].corrected_p);
}

static void
check_failures(const Repeat *repeat)
{
	Run		   *run = repeat->run;
	int			failed = 0;

	for (int i = 0; i < run->nsub_runs; i++)
		failed += run->sub_runs[i].part == PART_CANDIDATE && run->sub_runs[i].verdict == VERDICT_FAIL;
	check_count(run, "candidates that failed", 0, failed, "see the reports of these runs");
}

/* The story of a run with option repeat, of every scenario. */
void
repeat_play(Run *run)
{
	Repeat	   *repeat = repeat_make(run);

	read_suspects(repeat);
	play_all(repeat);
	phase(run, "compare");
	check_failures(repeat);
	check_shifts(repeat);
}

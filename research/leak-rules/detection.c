/*
 * detection.c
 *		How well the leak rules tell leaks from what is none.
 *
 *	detection [-s SEEDS] [-w WORKLOAD] [-v] [rules | pairs | cost]...
 *
 * Replays labelled workloads through the rules, with a simulated clock and
 * without a server, and compares what they say with what is true.  The same
 * seeds give the same output, but for the cost.
 */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "score.h"

#define TASKS_MAX	16384

static int	seeds = 8;
static const char *wanted;
static bool verbose;
static Task *tasks;				/* shared by the processes that run them */
static int	ntasks;

static const char *const note_names[NOTE_KINDS] = {
	[NOTE_MISS] = "missed",
	[NOTE_ALARM] = "FALSE ALARM",
	[NOTE_HELD] = "on purpose",
	[NOTE_LATE] = "late",
};

/* With the healthy service that looks the same. */
static const char *const doubts[DOUBTS] = {
	[DOUBT_BRIEF] = "not for as long as the threshold, before it or the run ended",
	[DOUBT_FEW] = "fewer were forgotten than a growth takes: workers that connect at their first "
	"request (gunicorn, quiet)",
	[DOUBT_COLD] = "its service had no more sessions than before, or for other reasons: the bottom of a LIFO pool "
	"(sqlalchemy lifo, cold)",
	[DOUBT_RESTS] = "its service has come back to others that rested half as long",
	[DOUBT_POOLS] = "several pools in its service: one of them has no traffic (blue-green, gunicorn)",
};

/* ---------- Running ---------- */

static void
tasks_add(const Workload *workload, Variant variant, int threshold_ms, int interval_ms)
{
	/* Of each growth a few do: each has many leaks. */
	for (int seed = 1; seed <= seeds; seed++)
	{
		if (variant >= GROWTH_FAST && variant <= GROWTH_WORKING && seed % GROWTHS != variant - GROWTH_FAST)
			continue;
		if (ntasks == TASKS_MAX)
			die("too many tasks");
		tasks[ntasks++] = (Task)
		{
			.workload = workload, .variant = variant, .seed = seed,
			.threshold_ms = threshold_ms, .interval_ms = interval_ms
		};
	}
}

static void
tasks_plan(int threshold_ms, int interval_ms, const char *const *only)
{
	ntasks = 0;
	for (int set = 0; workload_sets[set] != NULL; set++)
		for (const Workload *workload = workload_sets[set]; workload->name != NULL; workload++)
		{
			bool		chosen = only == NULL;

			for (int i = 0; !chosen && only[i] != NULL; i++)
				chosen = strcmp(only[i], workload->name) == 0;
			if (!chosen || (wanted != NULL && strstr(workload->name, wanted) == NULL))
				continue;
			for (Variant variant = 0; variant < VARIANTS; variant++)
				if ((variant >= GROWTH_FAST && variant <= GROWTH_WORKING) || variant == HEALTHY || !workload->nothing_held)
					tasks_add(workload, variant, threshold_ms, interval_ms);
		}
}

static void
tasks_run(void)
{
	int			processes = (int) sysconf(_SC_NPROCESSORS_ONLN);
	int		   *next = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int			failed = 0;
	int			status;

	*next = 0;
	fflush(stdout);
	for (int i = 0; i < processes; i++)
		if (fork() == 0)
		{
			for (int n; (n = __sync_fetch_and_add(next, 1)) < ntasks;)
				task_run(&tasks[n]);
			_exit(0);
		}
	while (wait(&status) > 0)
		failed += status != 0;
	if (failed > 0)
		die("a process that replayed has failed");
	munmap(next, sizeof(int));
}

/* ---------- Adding up ---------- */

static void
score_add(Score *sum, const Score *score)
{
	for (int rule = 0; rule < LEAK_RULES; rule++)
	{
		RuleScore  *to = &sum->rules[rule];
		const RuleScore *from = &score->rules[rule];

		to->leaks += from->leaks;
		to->right += from->right;
		to->other += from->other;
		to->missed += from->missed;
		to->false_alarms += from->false_alarms;
		to->borrowed += from->borrowed;
		to->held += from->held;
		to->undecided += from->undecided;
		to->undecided_found += from->undecided_found;
		to->late += from->late;
		to->delay_s = Max(to->delay_s, from->delay_s);
	}
	sum->observations += score->observations;
	sum->noted += score->noted;
	for (int doubt = 0; doubt < DOUBTS; doubt++)
		sum->doubts[doubt] += score->doubts[doubt];
	for (int kind = 0; kind < NOTE_KINDS; kind++)
		sum->lost[kind] += score->lost[kind];
}

static double
share(int part, int whole)
{
	return whole == 0 ? 1 : (double) part / whole;
}

/* Returns whether the rules are as good as they are meant to be. */
static bool
show_rules(bool hard)
{
	Score		sum = {0};
	bool		good = true;

	for (int i = 0; i < ntasks; i++)
		if ((tasks[i].workload->hard != NULL) == hard)
			score_add(&sum, &tasks[i].score);
	if (sum.observations == 0)
		return true;
	printf("%-20s %7s %7s %6s %7s %9s %9s %7s %8s %6s %15s %9s\n",
		   hard ? "where more is asked" : "rule", "leaks", "found", "other",
		   "missed", "false", "precision", "recall", "delay, s", "late", "not decidable", "purpose");
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
	{
		const RuleScore *score = &sum.rules[rule];
		int			named = score->right + score->borrowed + score->false_alarms;
		double		precision = share(named - score->false_alarms, named);
		double		recall = share(score->leaks - score->missed, score->leaks);
		char		found[32];

		snprintf(found, sizeof(found), "%d of %d", score->undecided_found, score->undecided);
		printf("%-20s %7d %7d %6d %7d %9d %9.4f %7.4f %8.1f %6d %15s %9d\n", leak_rules[rule]->name,
			   score->leaks, score->right, score->other, score->missed, score->false_alarms,
			   precision, recall, score->delay_s, score->late, found, score->held);
		good &= score->false_alarms == 0 && recall >= 0.95;
	}
	for (Doubt doubt = 0; doubt < DOUBTS; doubt++)
		printf("not decidable: %6d   %s\n", sum.doubts[doubt], doubts[doubt]);
	printf("observations %llu, sessions noted %llu\n\n", (unsigned long long) sum.observations, (unsigned long long) sum.noted);
	return good || hard;
}

/* ---------- Each workload ---------- */

static int
of_all(const Score *score, size_t offset)
{
	int			sum = 0;

	for (int rule = 0; rule < LEAK_RULES; rule++)
		sum += *(const int *) ((const char *) &score->rules[rule] + offset);
	return sum;
}

static void
show_workload(int from, int to)
{
	Score		healthy = {0};
	Score		leaky = {0};

	for (int i = from; i < to; i++)
		score_add(tasks[i].variant == HEALTHY ? &healthy : &leaky, &tasks[i].score);
	printf("%-24s %7d %7d %6d %7d %9d %9d %6d   %s\n", tasks[from].workload->name,
		   of_all(&leaky, offsetof(RuleScore, leaks)), of_all(&leaky, offsetof(RuleScore, right)),
		   of_all(&leaky, offsetof(RuleScore, other)), of_all(&leaky, offsetof(RuleScore, missed)),
		   of_all(&healthy, offsetof(RuleScore, false_alarms)),
		   of_all(&leaky, offsetof(RuleScore, false_alarms)),
		   of_all(&leaky, offsetof(RuleScore, undecided)), tasks[from].workload->what);
}

static void
show_workloads(void)
{
	printf("%-24s %7s %7s %6s %7s %9s %9s %6s\n", "workload", "leaks", "found", "other", "missed",
		   "false", "if leaky", "undec.");
	for (int from = 0, to; from < ntasks; from = to)
	{
		for (to = from; to < ntasks && tasks[to].workload == tasks[from].workload;)
			to++;
		show_workload(from, to);
	}
	putchar('\n');
}

/* ---------- Notes ---------- */

static void
show_note(const Task *task, const Note *note, int n)
{
	printf("%s x %d: %s (%s), %s: %s, seed %d at %.1f s: pid %d, opened at %.1f s, used %d times",
		   note_names[note->kind], n, task->workload->name, variant_names[task->variant],
		   leak_rules[note->rule]->name, note->what, (int) note->seed, note->at_s, note->pid,
		   note->opened_s, note->uses);
	if (note->kind == NOTE_MISS)
		printf(", not found for %.1f s; others of its service %d then, %d at the end, when %d newer ones "
			   "were in use and %d lay idle; it came back to others after up to %.1f s",
			   note->idle_s, note->evidence.sessions_then, note->evidence.sessions_now,
			   note->newer, note->idle, note->rest_s);
	else if (note->kind == NOTE_LATE)
		printf(", found %.1f s late by %s", note->idle_s, leak_rules[note->found]->name);
	else
	{
		printf(", idle for %.1f s; sessions %d then, %d now, others %d, span %d ms; ",
			   note->idle_s, note->evidence.sessions_then, note->evidence.sessions_now,
			   note->evidence.others, note->evidence.span_ms);
		if (note->after_s < 0)
			printf("then idle until the end");
		else
			printf("%s after %.1f s", note->closed ? "closed" : "used again", note->after_s);
	}
	putchar('\n');
}

static bool
is_alike(const Task *a, const Note *x, const Task *b, const Note *y)
{
	return a->workload == b->workload && x->kind == y->kind &&
		x->rule == y->rule && strcmp(x->what, y->what) == 0;
}

/* Those that are alike in one line, unless all are wanted. */
static void
show_alike(int i, int n)
{
	const Note *note = &tasks[i].score.notes[n];
	int			alike = 0;

	for (int j = 0; j < ntasks; j++)
		for (int k = 0; tasks[j].workload == tasks[i].workload && k < tasks[j].score.nnotes; k++)
		{
			if (!is_alike(&tasks[i], note, &tasks[j], &tasks[j].score.notes[k]))
				continue;
			if (j < i || (j == i && k < n))
				return;
			alike++;
		}
	show_note(&tasks[i], note, alike);
}

static void
show_notes(void)
{
	Score		sum = {0};

	for (NoteKind kind = 0; kind < NOTE_KINDS; kind++)
		for (int i = 0; i < ntasks; i++)
			for (int n = 0; n < tasks[i].score.nnotes; n++)
			{
				if (tasks[i].score.notes[n].kind != kind)
					continue;
				if (verbose)
					show_note(&tasks[i], &tasks[i].score.notes[n], 1);
				else
					show_alike(i, n);
			}
	for (int i = 0; i < ntasks; i++)
		score_add(&sum, &tasks[i].score);
	for (NoteKind kind = 0; kind < NOTE_KINDS; kind++)
		if (sum.lost[kind] > 0)
			printf("%s: %d more, of runs with more than %d\n", note_names[kind], sum.lost[kind], NOTES);
	putchar('\n');
}

static bool
replay(int threshold_ms, int interval_ms, const char *const *only)
{
	bool		good;

	tasks_plan(threshold_ms, interval_ms, only);
	tasks_run();
	printf("threshold %g s, observations every %d ms, seeds 1 to %d\n", threshold_ms / 1e3, interval_ms, seeds);
	good = show_rules(false) & show_rules(true);
	show_workloads();
	show_notes();
	return good;
}

/* ---------- ---------- */

static bool
replay_pairs(void)
{
	static const char *const only[] = {"sqlalchemy fifo", "hikari min-idle", "pgbouncer transaction",
	"uwsgi", "rolling restart", "psql", NULL};

	/* For comparison alone: what is asked for is asked for at 30 s and 200 ms. */
	replay(1000, 200, only);
	replay(300000, 200, only);
	replay(30000, 1000, only);
	return true;
}

/* Returns whether it came out as it is meant to. */
static bool
run_part(const char *part)
{
	if (strcmp(part, "rules") == 0)
		return replay(30000, 200, NULL);
	if (strcmp(part, "pairs") == 0)
		return replay_pairs();
	if (strcmp(part, "cost") != 0)
		die("there is no part %s", part);
	return cost_run();
}

int
main(int argc, char **argv)
{
	bool		good = true;
	int			option;

	while ((option = getopt(argc, argv, "s:w:v")) != -1)
		switch (option)
		{
			case 's':
				seeds = atoi(optarg);
				break;
			case 'w':
				wanted = optarg;
				break;
			case 'v':
				verbose = true;
				break;
			default:
				die("usage: detection [-s SEEDS] [-w WORKLOAD] [-v] [rules | pairs | cost]...");
		}
	tasks = mmap(NULL, sizeof(Task) * TASKS_MAX, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tasks == MAP_FAILED)
		die("out of memory");
	for (int i = optind; i < argc; i++)
		good &= run_part(argv[i]);
	if (optind == argc)
		good = run_part("rules") & run_part("pairs") & run_part("cost");
	return good ? 0 : 1;
}

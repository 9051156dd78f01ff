/*
 * junit.c
 *		Report format junit: the XML that CI systems read, a suite a run and a case
 *		a check.
 *
 * A run that proved nothing is an error, and its checks are skipped.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/hsearch.h"

#include "base/markup.h"
#include "report/format.h"

#define TIME_FORMAT		"%.3f"	/* seconds; readers want three decimals at the most */

typedef struct Junit
{
	StringInfo	out;
	HTAB	   *names;			/* of the cases so far: NameUse */
} Junit;

/* How often a case of that class and name was asked for. */
typedef struct NameUse
{
	uint64		hash;			/* the key */
	int			n;
} NameUse;

/* What the cases of a run come to. */
typedef struct Counts
{
	int			tests;
	int			failures;
	int			errors;
	int			skipped;
} Counts;

static void
attribute(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, " %s=\"", name);
	markup_text(out, value);
	appendStringInfoChar(out, '"');
}

/* Did it end, and prove something? */
static bool
is_proved(const ReportData *run)
{
	return strcmp(run->verdict, "pass") == 0 || strcmp(run->verdict, "fail") == 0;
}

static Counts
count(const ReportData *run)
{
	Counts		counts = {.tests = run->nchecks};

	for (int i = 0; i < run->nchecks; i++)
	{
		counts.failures += is_proved(run) && check_is(&run->checks[i], "fail");
		counts.skipped += !is_proved(run) || check_is(&run->checks[i], "skip");
	}

	/* The case of the verdict, where no check shows it. */
	if (strcmp(run->verdict, "pass") != 0 && counts.failures == 0)
	{
		counts.tests++;
		counts.errors += !is_proved(run);
		counts.failures += is_proved(run);
	}
	return counts;
}

/* Returns how often this name was asked for, this time included. */
static int
name_count(Junit *junit, const char *class, const char *name)
{
	uint64		hash = hash_combine64(hash_bytes_extended((const unsigned char *) class, strlen(class), 0),
									  hash_bytes_extended((const unsigned char *) name, strlen(name), 0));
	bool		found;
	NameUse    *use = hash_search(junit->names, &hash, HASH_ENTER, &found);

	use->n = found ? use->n + 1 : 1;
	return use->n;
}

/* Begins a case, whose name gets a number if it is not the first of that name: its own, which may be taken, too. */
static void
case_open(Junit *junit, const ReportData *run, const char *name, double elapsed_s)
{
	const char *class = psprintf("pool_exhaust.%s.%s", run->scenario, run->target);
	const char *unique = name;
	int			n = name_count(junit, class, name);

	if (n > 1)
		do
			unique = psprintf("%s #%d", name, n++);
		while (name_count(junit, class, unique) > 1);
	appendStringInfoString(junit->out, "    <testcase");
	attribute(junit->out, "classname", class);
	attribute(junit->out, "name", unique);
	appendStringInfo(junit->out, " time=\"" TIME_FORMAT "\"", elapsed_s);
}

/* Ends a case that has an element: its message, and its text unless that is "". */
static void
case_close(Junit *junit, const char *element, const char *message, const char *text)
{
	StringInfo	out = junit->out;

	appendStringInfo(out, ">\n      <%s", element);
	attribute(out, "message", message);
	if (text[0] != '\0')
	{
		appendStringInfoChar(out, '>');
		markup_text(out, text);
		appendStringInfo(out, "</%s>", element);
	}
	else
		appendStringInfoString(out, "/>");
	appendStringInfoString(out, "\n    </testcase>\n");
}

static char *
failure_message(const ReportCheck *check)
{
	return psprintf("expected %s, observed %s", expected_text(check), observed_text(check));
}

static char *
failure_text(const ReportCheck *check)
{
	return psprintf("expected: %s\nobserved: %s\nmeaning: %s\n", expected_text(check), observed_text(check), check->detail);
}

/* The time of a phase stands at its first check: a check has no time of its own, and so the sum is right. */
static double
check_elapsed_s(const ReportData *run, int n)
{
	const char *phase = run->checks[n].phase;

	for (int i = 0; i < n; i++)
		if (strcmp(run->checks[i].phase, phase) == 0)
			return 0;
	for (int i = 0; i < run->nphases; i++)
		if (strcmp(run->phases[i].name, phase) == 0)
			return run->phases[i].elapsed_s;
	return 0;
}

static void
check_case(Junit *junit, const ReportData *run, int n)
{
	const ReportCheck *check = &run->checks[n];
	const char *separator = check->phase[0] != '\0' ? ": " : "";

	case_open(junit, run, psprintf("%s%s%s", check->phase, separator, check->name), check_elapsed_s(run, n));
	if (check_is(check, "skip"))
		case_close(junit, "skipped", check->detail, "");
	else if (!is_proved(run))
		case_close(junit, "skipped", psprintf("the run proves nothing; %s", failure_message(check)), "");
	else if (check_is(check, "fail"))
		case_close(junit, "failure", failure_message(check), failure_text(check));
	else
		appendStringInfoString(junit->out, "/>\n");
}

/* A case for a verdict that no check shows, or a document would pass that must not. */
static void
verdict_case(Junit *junit, const ReportData *run)
{
	const char *verdict = run->verdict[0] != '\0' ? run->verdict : "the run is under way";

	case_open(junit, run, "verdict", 0);
	case_close(junit, is_proved(run) ? "failure" : "error",
			   run->reason[0] != '\0' ? psprintf("%s: %s", verdict, run->reason) : verdict, "");
}

static void
property(StringInfo out, const char *name, const char *value)
{
	appendStringInfoString(out, "      <property");
	attribute(out, "name", name);
	attribute(out, "value", value);
	appendStringInfoString(out, "/>\n");
}

static void
properties(const ReportData *run, StringInfo out)
{
	appendStringInfoString(out, "    <properties>\n");
	if (run->run_id != 0)
		property(out, "run_id", psprintf(INT64_FORMAT, run->run_id));
	property(out, "verdict", run->verdict);
	property(out, "reason", run->reason);
	property(out, "seed", run->seed);
	property(out, "server_version", run->server_version);
	property(out, "extension_version", run->extension_version);
	for (int i = 0; i < run->noptions; i++)
		property(out, psprintf("option.%s", run->options[i].name), run->options[i].value);
	appendStringInfoString(out, "    </properties>\n");
}

static void
suite(Junit *junit, const ReportData *run)
{
	Counts		counts = count(run);
	StringInfo	out = junit->out;

	appendStringInfoString(out, "  <testsuite");
	attribute(out, "name", run_text(run));
	appendStringInfo(out, " tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\" time=\"" TIME_FORMAT "\"",
					 counts.tests, counts.failures, counts.errors, counts.skipped, run->elapsed_s);
	attribute(out, "timestamp", run->started_utc);
	appendStringInfoString(out, ">\n");
	properties(run, out);
	for (int i = 0; i < run->nchecks; i++)
		check_case(junit, run, i);
	if (counts.tests > run->nchecks)
		verdict_case(junit, run);
	appendStringInfoString(out, "  </testsuite>\n");
	for (int i = 0; i < run->nparts; i++)
		suite(junit, run->parts[i]);
}

/* Adds what the cases of the run and its parts come to; returns their seconds. */
static double
count_all(const ReportData *run, Counts *total)
{
	Counts		counts = count(run);

	total->tests += counts.tests;
	total->failures += counts.failures;
	total->errors += counts.errors;
	for (int i = 0; i < run->nparts; i++)
		(void) count_all(run->parts[i], total);
	return run->elapsed_s;
}

static void
junit_write_several(const ReportData *const *runs, int n, StringInfo out)
{
	HASHCTL		control = {.keysize = sizeof(uint64), .entrysize = sizeof(NameUse), .hcxt = CurrentMemoryContext};
	Junit		junit = {out, hash_create("cases", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT)};
	Counts		total = {0};
	double		elapsed_s = 0;

	for (int i = 0; i < n; i++)
		elapsed_s += count_all(runs[i], &total);
	appendStringInfo(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
					 "<testsuites name=\"pool_exhaust\" tests=\"%d\" failures=\"%d\" errors=\"%d\" time=\"" TIME_FORMAT "\">\n",
					 total.tests, total.failures, total.errors, elapsed_s);
	for (int i = 0; i < n; i++)
		suite(&junit, runs[i]);
	appendStringInfoString(out, "</testsuites>\n");
}

const ReportFormat report_format_junit = {
	.name = "junit",
	.parts = true,
	.write_several = junit_write_several,
};

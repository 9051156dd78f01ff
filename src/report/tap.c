/*
 * tap.c
 *		Report format tap: the Test Anything Protocol, a test a check and one for
 *		the verdict; of several runs, a test a run, with those as its subtests.
 */
#include "postgres.h"

#include "report/format.h"

/* What comes from a server must not be read as TAP: no '#' and no line feed.  palloc'd. */
static char *
tap_safe(const char *text)
{
	char	   *safe = pstrdup(text);

	for (char *p = safe; *p != '\0'; p++)
		if (*p == '#' || *p == '\n' || *p == '\r')
			*p = ' ';
	return safe;
}

static void
tap_check(const ReportCheck *check, int number, StringInfo out)
{
	if (check_is(check, "skip"))
		appendStringInfo(out, "ok %d - %s # SKIP %s\n", number, tap_safe(check->name), tap_safe(check->detail));
	else if (!check_is(check, "fail"))
		appendStringInfo(out, "ok %d - %s\n", number, tap_safe(check->name));
	else
		appendStringInfo(out, "not ok %d - %s\n#   expected: %s\n#   observed: %s\n#   %s\n", number, tap_safe(check->name),
						 tap_safe(expected_text(check)), tap_safe(observed_text(check)), tap_safe(check->detail));
}

static void
tap_verdict(const ReportData *data, StringInfo out)
{
	const char *verdict = verdict_text(data);
	bool		passed = strcmp(verdict, "pass") == 0;

	appendStringInfo(out, "%s %d - verdict is pass\n", passed ? "ok" : "not ok", data->nchecks + 1);
	if (!passed)
		appendStringInfo(out, "#   verdict: %s%s%s\n", verdict, data->reason[0] ? ", " : "", tap_safe(data->reason));
}

/* "saturation on server, run 7" */
static char *
tap_name(const ReportData *data)
{
	return tap_safe(run_text(data));
}

static void
tap_write(const ReportData *data, StringInfo out)
{
	appendStringInfo(out, "1..%d\n# %s\n", data->nchecks + 1, tap_name(data));
	for (int i = 0; i < data->nchecks; i++)
		tap_check(&data->checks[i], i + 1, out);
	tap_verdict(data, out);
}

/* The lines of a subtest are indented by four blanks: to a parser that has none they are no TAP. */
static void
tap_subtest(const ReportData *data, StringInfo out)
{
	StringInfoData subtest;
	char	   *rest;

	initStringInfo(&subtest);
	tap_write(data, &subtest);
	rest = subtest.data;
	for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n"))
		appendStringInfo(out, "    %s\n", line);
}

static void
tap_write_several(const ReportData *const *runs, int n, StringInfo out)
{
	appendStringInfo(out, "1..%d\n", n);
	for (int i = 0; i < n; i++)
	{
		appendStringInfo(out, "# Subtest: %s\n", tap_name(runs[i]));
		tap_subtest(runs[i], out);
		appendStringInfo(out, "%s %d - %s\n", strcmp(runs[i]->verdict, "pass") == 0 ? "ok" : "not ok", i + 1, tap_name(runs[i]));
	}
}

const ReportFormat report_format_tap = {
	.name = "tap",
	.write = tap_write,
	.write_several = tap_write_several,
};

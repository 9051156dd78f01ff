/*
 * text.c
 *		Report format text, for eyes in psql: the verdict, what happened, each
 *		claim with what was expected and observed, and the shape of it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "report/compare.h"
#include "report/format.h"

#define NAME_WIDTH		34
#define SPARK_WIDTH		40
#define SAME_WIDTH		12		/* longer texts are shown once if they are equal */

static char *
in_capitals(const char *word)
{
	char	   *text = pstrdup(word);

	for (char *p = text; *p != '\0'; p++)
		*p = pg_toupper((unsigned char) *p);
	return text;
}

/* "PASS    saturation on server    12 of 12 checks    0.42 s    run 7" */
static void
text_headline(const ReportData *data, StringInfo out)
{
	int			passed;
	int			tried;

	checks_count(data, &passed, &tried);
	appendStringInfo(out, "%-7s %-26s %d of %d checks      %.2f s%s\n",
					 in_capitals(verdict_text(data)),
					 psprintf("%s on %s", data->scenario, data->target), passed, tried, data->elapsed_s,
					 data->run_id == 0 ? "" : psprintf("      run " INT64_FORMAT, data->run_id));
	if (data->reason[0] != '\0')
		appendStringInfo(out, "        %s\n", data->reason);
}

static void
text_phases(const ReportData *data, StringInfo out)
{
	for (int i = 0; i < data->nphases; i++)
		if (data->phases[i].note[0] != '\0')
			appendStringInfo(out, "%-9s %s\n", data->phases[i].name, data->phases[i].note);
}

static void
text_failure(const ReportCheck *check, StringInfo out)
{
	appendStringInfo(out, "FAIL  %-*s expected %s, observed %s\n      %s\n", NAME_WIDTH, check->name,
					 expected_text(check), observed_text(check), check->detail);
}

static void
text_pass(const ReportCheck *check, StringInfo out)
{
	const char *expected = expected_text(check);
	const char *observed = observed_text(check);

	appendStringInfo(out, "ok    %-*s ", NAME_WIDTH, check->name);
	if (check->detail[0] != '\0')
		appendStringInfo(out, "%s   %s\n", observed, check->detail);
	else if (strcmp(expected, observed) != 0)
		appendStringInfo(out, "%s   (%s)\n", observed, expected);
	else if (strlen(expected) > SAME_WIDTH)
		appendStringInfo(out, "%s\n", observed);
	else
		appendStringInfo(out, "%s = %s\n", expected, observed);
}

static void
text_checks(const ReportData *data, StringInfo out)
{
	for (int i = 0; i < data->nchecks; i++)
	{
		const ReportCheck *check = &data->checks[i];

		if (check_is(check, "fail"))
			text_failure(check, out);
		else if (check_is(check, "skip"))
			appendStringInfo(out, "skip  %-*s %s\n", NAME_WIDTH, check->name, check->detail);
		else
			text_pass(check, out);
	}
}

/* The highest utilization of each slice of the run in which there was a sample, and of all. */
static void
text_sparkline(const ReportData *data, StringInfo out)
{
	static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const ascii[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
	const char *const *ramp = GetDatabaseEncoding() == PG_UTF8 ? blocks : ascii;
	double		first_s = data->nsamples > 0 ? data->samples[0].at_s : 0;
	double		span = data->nsamples > 0 ? Max(data->samples[data->nsamples - 1].at_s - first_s, 1e-9) : 0;
	double		peak = 0;

	if (data->nsamples == 0 || data->capacity == 0)
		return;
	appendStringInfoString(out, "utilization ");
	for (int i = 0, slice = 0; slice < SPARK_WIDTH; slice++)
	{
		int			highest = -1;

		for (; i < data->nsamples && (data->samples[i].at_s - first_s) / span * (SPARK_WIDTH - 0.001) < slice + 1; i++)
			highest = Max(highest, data->samples[i].in_use);
		if (highest < 0)
			continue;
		peak = Max(peak, (double) highest / data->capacity);
		appendStringInfoString(out, ramp[Min(highest * (int) lengthof(blocks) / data->capacity, (int) lengthof(blocks) - 1)]);
	}
	appendStringInfo(out, "  peak %.0f %%\n", 100 * peak);
}

static void
text_write(const ReportData *data, StringInfo out)
{
	text_headline(data, out);
	text_phases(data, out);
	text_checks(data, out);
	text_sparkline(data, out);
}

const ReportFormat report_format_text = {
	.name = "text",
	.write = text_write,
	.compare = compare_text,
};

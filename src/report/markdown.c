/*
 * markdown.c
 *		Report format markdown, for the summary of a CI job and for a comment: the
 *		verdicts first, then each failure, and the rest folded.
 *
 * It has an upper bound, as comments have: what does not fit is left out, the rest of
 * the runs before their failures, and counted in the last line.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/markup.h"
#include "report/compare.h"
#include "report/format.h"

#define SIZE_MAX_BYTES	(64 * 1024)
#define LAST_LINE_MAX	512
#define TEXT_MAX		1000	/* bytes of a text before it is cut */

typedef struct Markdown
{
	StringInfo	out;
	StringInfoData block;		/* what is added next, or left out */
	int			runs;			/* these three left out */
	int			failures;
	int			details;
	const ReportData *left_out_of;	/* the first run of which something is */
} Markdown;

/* Appends a text, cut if it is long. */
static void
put(StringInfo block, const char *text)
{
	int			len = strlen(text);
	int			shown = pg_mbcliplen(text, len, TEXT_MAX);

	markdown_text(block, pnstrdup(text, shown));
	if (shown < len)
		appendStringInfo(block, " ... (%d more bytes)", len - shown);
}

/* A cell of a table */
static void
cell(StringInfo block, const char *text)
{
	put(block, text);
	appendStringInfoString(block, " | ");
}

/* Adds the block, if it fits, and begins the next; otherwise "n" more of something are left out. */
static bool
block_end(Markdown *md, const ReportData *run, int *left_out, int n)
{
	bool		fits = md->out->len + md->block.len <= SIZE_MAX_BYTES - LAST_LINE_MAX;

	if (fits)
		appendBinaryStringInfo(md->out, md->block.data, md->block.len);
	else
	{
		*left_out += n;
		if (md->left_out_of == NULL)
			md->left_out_of = run;
	}
	resetStringInfo(&md->block);
	return fits;
}

static bool
is_passed(const ReportData *run)
{
	return strcmp(run->verdict, "pass") == 0;
}

static void
verdict_row(Markdown *md, const ReportData *run)
{
	const char *mark = is_passed(run) ? "" : "**";
	int			passed;
	int			tried;

	checks_count(run, &passed, &tried);
	appendStringInfoString(&md->block, "| ");
	cell(&md->block, run->scenario);
	cell(&md->block, run->target);
	appendStringInfoString(&md->block, mark);
	put(&md->block, verdict_text(run));
	appendStringInfo(&md->block, "%s | %d of %d | %.2f s | %s |\n", mark, passed, tried, run->elapsed_s,
					 run->run_id == 0 ? "" : psprintf(INT64_FORMAT, run->run_id));
	(void) block_end(md, run, &md->runs, 1);
}

static void
failure_row(Markdown *md, const ReportData *run, const ReportCheck *check)
{
	appendStringInfoString(&md->block, "| ");
	cell(&md->block, psprintf("%s: %s", check->phase, check->name));
	cell(&md->block, expected_text(check));
	cell(&md->block, observed_text(check));
	cell(&md->block, check->detail);
	appendStringInfoChar(&md->block, '\n');
	(void) block_end(md, run, &md->failures, 1);
}

/* Why a run has not passed, and the checks that it has failed. */
static void
failures(Markdown *md, const ReportData *run)
{
	int			failed = 0;

	for (int i = 0; i < run->nchecks; i++)
		failed += check_is(&run->checks[i], "fail");
	if (is_passed(run))
		return;
	appendStringInfoString(&md->block, "\n### ");
	put(&md->block, psprintf("%s: %s", run_text(run), verdict_text(run)));
	appendStringInfoString(&md->block, "\n\n");
	if (run->reason[0] != '\0')
		put(&md->block, psprintf("Reason: %s", run->reason));
	appendStringInfoString(&md->block, "\n\n");
	if (failed > 0)
		appendStringInfoString(&md->block, "| check | expected | observed | what it means |\n|---|---|---|---|\n");
	if (!block_end(md, run, &md->failures, Max(failed, 1)))
		return;
	for (int i = 0; i < run->nchecks; i++)
		if (check_is(&run->checks[i], "fail"))
			failure_row(md, run, &run->checks[i]);
}

static void
phase_rows(const ReportData *run, StringInfo block)
{
	appendStringInfoString(block, "\n| phase | time | |\n|---|--:|---|\n");
	for (int i = 0; i < run->nphases; i++)
	{
		appendStringInfoString(block, "| ");
		cell(block, run->phases[i].name);
		appendStringInfo(block, "%.2f s | ", run->phases[i].elapsed_s);
		cell(block, run->phases[i].note);
		appendStringInfoChar(block, '\n');
	}
}

static void
check_rows(const ReportData *run, StringInfo block)
{
	appendStringInfoString(block, "\n| phase | check | outcome | expected | observed | |\n|---|---|---|---|---|---|\n");
	for (int i = 0; i < run->nchecks; i++)
	{
		const ReportCheck *check = &run->checks[i];

		appendStringInfoString(block, "| ");
		cell(block, check->phase);
		cell(block, check->name);
		cell(block, check->outcome);
		cell(block, expected_text(check));
		cell(block, observed_text(check));
		cell(block, check_is(check, "fail") ? "" : check->detail);
		appendStringInfoChar(block, '\n');
	}
}

static void
option_rows(const ReportData *run, StringInfo block)
{
	appendStringInfoString(block, "\n| option | |\n|---|---|\n");
	for (int i = 0; i < run->noptions; i++)
	{
		appendStringInfoString(block, "| ");
		cell(block, run->options[i].name);
		cell(block, run->options[i].value);
		appendStringInfoChar(block, '\n');
	}
}

/* All the rest of a run, folded. */
static void
details(Markdown *md, const ReportData *run)
{
	StringInfo	block = &md->block;

	appendStringInfoString(block, "\n<details>\n<summary>");
	put(block, run_text(run));
	appendStringInfoString(block, "</summary>\n\n");
	put(block, psprintf("Started %s UTC, %sPostgreSQL %s, pool_exhaust %s", run->started_utc,
						run->run_id == 0 ? "" : psprintf("seed %s, ", run->seed), run->server_version, run->extension_version));
	appendStringInfoChar(block, '\n');
	phase_rows(run, block);
	check_rows(run, block);
	option_rows(run, block);
	appendStringInfoString(block, "\n</details>\n");
	(void) block_end(md, run, &md->details, 1);
}

/* Applies "write" to each run, and to its parts after it. */
static void
each_run(Markdown *md, const ReportData *const *runs, int n, void (*write) (Markdown *md, const ReportData *run))
{
	for (int i = 0; i < n; i++)
	{
		write(md, runs[i]);
		each_run(md, (const ReportData *const *) runs[i]->parts, runs[i]->nparts, write);
	}
}

static void
markdown_write_several(const ReportData *const *runs, int n, StringInfo out)
{
	Markdown	md = {.out = out};

	initStringInfo(&md.block);
	appendStringInfoString(out, "| scenario | target | verdict | checks | time | run |\n|---|---|---|--:|--:|--:|\n");
	each_run(&md, runs, n, verdict_row);
	each_run(&md, runs, n, failures);
	each_run(&md, runs, n, details);
	if (md.left_out_of != NULL)
		appendStringInfo(out, "\nLeft out, as this is at most %d KiB: %d rows of runs, %d of failures, the details of %d runs. "
						 "%s has all of the first of these.\n",
						 SIZE_MAX_BYTES / 1024, md.runs, md.failures, md.details,
						 md.left_out_of->run_id == 0 ? "Format html"
						 : psprintf("`SELECT pool_exhaust_report(" INT64_FORMAT ")`", md.left_out_of->run_id));
}

/* ---------- Two runs side by side ---------- */

/* A row of these cells, "n" of them; counted among the details if there is no room for it. */
static void
compare_row(Markdown *md, const RunComparison *c, int n, const char *const *cells)
{
	appendStringInfoString(&md->block, "| ");
	for (int i = 0; i < n; i++)
		cell(&md->block, cells[i]);
	appendStringInfoChar(&md->block, '\n');
	(void) block_end(md, c->base, &md->details, 1);
}

static void
compare_runs(Markdown *md, const RunComparison *c)
{
	appendStringInfoString(&md->block, "| | base | candidate |\n|---|---|---|\n| ");
	cell(&md->block, c->base->scenario);
	cell(&md->block, psprintf("run " INT64_FORMAT " on %s: %s", c->base->run_id, c->base->target, verdict_text(c->base)));
	cell(&md->block, psprintf("run " INT64_FORMAT " on %s: %s", c->candidate->run_id, c->candidate->target, verdict_text(c->candidate)));
	appendStringInfoChar(&md->block, '\n');
	(void) block_end(md, c->base, &md->details, 1);
	for (int i = 0; i < c->ndifferences; i++)
	{
		const EnvironmentDifference *difference = &c->differences[i];
		const char *cells[] = {psprintf("not comparable: %s", difference->name),
			difference->base[0] != '\0' ? difference->base : "none",
		difference->candidate[0] != '\0' ? difference->candidate : "none"};

		compare_row(md, c, lengthof(cells), cells);
	}
	for (int i = 0; i < c->nchanges; i++)
	{
		const CheckChange *change = &c->changes[i];
		const char *cells[] = {psprintf("check %s", change_name(change)), change_outcome(change->base), change_outcome(change->candidate)};

		compare_row(md, c, lengthof(cells), cells);
	}
}

static void
compare_metrics(Markdown *md, const RunComparison *c)
{
	if (c->nmetrics > 0)
		appendStringInfoString(&md->block, "\n| metric | base | candidate | change | times noise |\n|---|--:|--:|--:|--:|\n");
	for (int i = 0; i < c->nmetrics; i++)
	{
		const ComparedMetric *metric = &c->metrics[i];
		const char *cells[] = {metric->name, metric_value_text(metric, metric->base), metric_value_text(metric, metric->candidate),
		metric_change_text(metric), metric_noise_text(metric)};

		compare_row(md, c, lengthof(cells), cells);
	}
}

void
compare_markdown(const RunComparison *c, StringInfo out)
{
	Markdown	md = {.out = out};

	initStringInfo(&md.block);
	compare_runs(&md, c);
	compare_metrics(&md, c);
	if (md.details > 0)
		appendStringInfo(out, "\nLeft out, as this is at most %d KiB: %d rows. "
						 "`SELECT pool_exhaust_compare(" INT64_FORMAT ", " INT64_FORMAT ")` has them.\n",
						 SIZE_MAX_BYTES / 1024, md.details, c->base->run_id, c->candidate->run_id);
}

const ReportFormat report_format_markdown = {
	.name = "markdown",
	.parts = true,
	.write_several = markdown_write_several,
	.compare = compare_markdown,
};

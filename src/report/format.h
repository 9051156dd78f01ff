/*
 * format.h
 *		The list of report formats.
 *
 * A format is one file, which defines report_format_<name>, and one line here.
 */
#pragma once

#include "lib/stringinfo.h"

#include "report/data.h"

#define REPORT_FORMATS(FORMAT) \
	FORMAT(text) \
	FORMAT(json) \
	FORMAT(tap) \
	FORMAT(junit) \
	FORMAT(markdown) \
	FORMAT(html) \
	FORMAT(svg) \
	FORMAT(benchmark_json)

struct RunComparison;

/*
 * The methods append whole lines, each with its line feed, and read nothing but the
 * runs.  A format has one of the first two at least.
 */
typedef struct ReportFormat
{
	const char *name;
	bool		parts;			/* a run comes with its parts */
	bool		history;		/* a report of one run comes with the history of its metrics */
	bool		measured;		/* it shows what was measured, so a document that no run has made has none of it */

	/* The report of a run; NULL: that of several, of which there is one. */
	void		(*write) (const ReportData *run, StringInfo out);

	/* One document of several runs; NULL: one report after the other, a blank line between. */
	void		(*write_several) (const ReportData *const *runs, int n, StringInfo out);

	/* Two runs of one scenario side by side, see compare.h; NULL: the format has none of that. */
	void		(*compare) (const struct RunComparison *comparison, StringInfo out);
} ReportFormat;

#define REPORT_FORMAT_DECLARE(name) extern const ReportFormat report_format_##name;
REPORT_FORMATS(REPORT_FORMAT_DECLARE)
#undef REPORT_FORMAT_DECLARE

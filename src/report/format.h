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
	FORMAT(tap)

typedef struct ReportFormat
{
	const char *name;

	/* Appends the report; each line ends with a line feed.  Reads nothing but "data". */
	void		(*write) (const ReportData *data, StringInfo out);
} ReportFormat;

#define REPORT_FORMAT_DECLARE(name) extern const ReportFormat report_format_##name;
REPORT_FORMATS(REPORT_FORMAT_DECLARE)
#undef REPORT_FORMAT_DECLARE

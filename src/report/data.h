/*
 * data.h
 *		The results of a run as a report needs them, read once.
 */
#pragma once

#include "base/comparison.h"

/* Texts are "" where the table has NULL. */
typedef struct ReportPhase
{
	char	   *name;
	char	   *note;			/* one sentence, or "" */
} ReportPhase;

typedef struct ReportCheck
{
	char	   *name;
	char	   *outcome;		/* pass, fail, skip */
	Comparison	comparison;		/* OPERATOR_NONE: texts were compared, or version 1.0 wrote the row */
	char	   *expected;		/* as version 1.0 wrote it, or a text */
	char	   *observed;
	char	   *unit;
	char	   *detail;			/* what a failure means and what to check next; why it was skipped */
} ReportCheck;

typedef struct ReportSample
{
	double		at_s;			/* since the first one */
	int			in_use;
} ReportSample;

typedef struct ReportData
{
	int64		run_id;
	char	   *scenario;
	char	   *target;
	char	   *verdict;		/* "" while it is under way */
	char	   *reason;
	double		elapsed_s;
	int			capacity;		/* of the pool; 0: there was none */
	char	   *json;			/* all that is stored of it but its samples, as one object */

	int			nphases;
	ReportPhase *phases;
	int			nchecks;
	ReportCheck *checks;
	int			nsamples;
	ReportSample *samples;
} ReportData;

/*
 * How a run ended as its caller knows it, for results that could not be written;
 * NULL: nothing is known.
 */
typedef struct ReportEnd
{
	const char *verdict;
	const char *reason;
	bool		waited;			/* the caller has waited for it: the run is the caller's */
} ReportEnd;

extern ReportData *report_read(int64 run_id, const ReportEnd *end);

/* The words of a check; see report.c. */
extern bool check_is(const ReportCheck *check, const char *outcome);
extern char *expected_text(const ReportCheck *check);
extern char *observed_text(const ReportCheck *check);

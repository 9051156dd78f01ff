/*
 * data.h
 *		The results of a run as a report needs them, read once.
 *
 * A document that no run has made is one, too: its run_id is 0, and what only a run has
 * is empty.
 */
#pragma once

#include "base/buckets.h"
#include "base/comparison.h"

/* Texts are "" where the table has NULL. */
typedef struct ReportPhase
{
	char	   *name;
	char	   *note;			/* one sentence, or "" */
	double		began_s;		/* since the begin of the run; < 0: version 1.0 did not keep it */
	double		elapsed_s;
	char	   *figures;		/* numbers of its own, a JSON object, or "" */
} ReportPhase;

typedef struct ReportCheck
{
	char	   *phase;
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
	double		at_s;			/* since the begin of the run */
	int			in_use;
	int			waiting;
	int64		granted;		/* these three since the begin of the run */
	int64		refused;
	int64		timed_out;
	double		p50_ms;			/* of the phase so far; < 0: nothing was granted in it yet */
	double		p99_ms;
	char	   *health;
} ReportSample;

/* How long something took in a phase. */
typedef struct ReportLatency
{
	char	   *phase;
	char	   *metric;
	char	   *unit;			/* "us" */
	Buckets		buckets;
} ReportLatency;

/* An option of the run, in force. */
typedef struct ReportOption
{
	char	   *name;
	char	   *value;			/* as JSON */
	bool		changed;		/* from the default of its profile, as far as that is known */
} ReportOption;

/* Logins of the run that were refused. */
typedef struct ReportRefusal
{
	char	   *cause;
	double		logins;
} ReportRefusal;

/* A metric in runs that can be compared with the run, itself among them, in their order. */
typedef struct ReportHistory
{
	char	   *metric;			/* as in view pool_exhaust_trends, like the next four */
	char	   *unit;
	char	   *verdict;
	double		median;			/* of the base; NaN: there is none yet */
	double		noise;
	int			n;
	int64	   *run_ids;
	double	   *values;
} ReportHistory;

typedef struct ReportData
{
	int64		run_id;			/* 0: no run has made it */
	char	   *scenario;
	char	   *target;
	char	   *verdict;		/* "" while it is under way */
	char	   *reason;
	char	   *started_at;
	char	   *started_utc;	/* the same as ISO 8601, without a zone, to the second */
	char	   *seed;
	char	   *server_version;
	char	   *extension_version;
	char	   *environment;	/* these two as JSON; "" of version 1.0 */
	char	   *calibration;
	char	   *repeat;			/* whole, base or candidate, of option repeat; "" otherwise */
	double		elapsed_s;
	int			capacity;		/* of the pool; 0: there was none */
	char	   *json;			/* all that is stored of it but its samples, as one object */

	int			nphases;
	ReportPhase *phases;
	int			nchecks;
	ReportCheck *checks;
	int			nsamples;
	ReportSample *samples;
	int			nlatencies;
	ReportLatency *latencies;
	int			noptions;
	ReportOption *options;		/* by name */
	int			nrefusals;
	ReportRefusal *refusals;	/* the most frequent first */

	/* For a format that shows it; see history_read(). */
	int			nhistories;
	ReportHistory *histories;

	/* The runs that it has started, for a format that shows them; those have no parts. */
	int			nparts;
	struct ReportData **parts;
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

extern ReportData *report_read(int64 run_id, const ReportEnd *end, bool parts);
extern void history_read(ReportData *data);

/* What writers share; see report.c. */
extern const char *verdict_text(const ReportData *run);
extern char *run_text(const ReportData *run);
extern void checks_count(const ReportData *run, int *passed, int *tried);
extern bool check_is(const ReportCheck *check, const char *outcome);
extern char *expected_text(const ReportCheck *check);
extern char *observed_text(const ReportCheck *check);

/*
 * slo.h
 *		The service level of the past: of what was measured, how much was good, and how
 *		fast the error budget burns.
 *
 * There are two indicators, and they are never mixed.  Logins: those that were let in,
 * against those refused because the server had no slot.  Seconds: one is bad if such a
 * login was refused in it.  Limits of roles and databases, and a server that accepts no
 * clients, refuse by decision: they are counted apart.  What was not measured is neither
 * good nor bad, and no part of what the level is a share of.  Nor are seconds in which a
 * run on target server was under way: it fills the server on purpose.
 */
#pragma once

#include "base/recorder/record.h"
#include "base/words.h"

/*
 * The windows of alerts on burn rates: "Alerting on SLOs", The Site Reliability
 * Workbook, chapter 5, table 5-8.  A row has seconds.
 */
#define SLO_WINDOW_LIST(ROW) \
	ROW(SLO_5_MINUTES, 5 * 60) \
	ROW(SLO_30_MINUTES, 30 * 60) \
	ROW(SLO_1_HOUR, 60 * 60) \
	ROW(SLO_6_HOURS, 6 * 60 * 60) \
	ROW(SLO_3_DAYS, 3 * 24 * 60 * 60)

typedef enum SloWindow
{
	SLO_WINDOW_LIST(LIST_MEMBER)
} SloWindow;

#define SLO_WINDOWS LIST_COUNT(SLO_WINDOW_LIST)

typedef enum SloIndicator
{
	SLO_LOGINS,
	SLO_SECONDS
} SloIndicator;

#define SLO_INDICATORS (SLO_SECONDS + 1)

/* Logins, or seconds. */
typedef struct SloCount
{
	double		good;
	double		bad;
} SloCount;

/* Runs that are named; of more only their time counts. */
#define SLO_RUNS_MAX	1000

typedef struct Slo
{
	TimestampTz from;
	TimestampTz to;
	SloCount	whole[SLO_INDICATORS];
	SloCount	recent[SLO_WINDOWS][SLO_INDICATORS];	/* up to "to" */
	double		lost_s;			/* the bad seconds, each by the share of its logins that were refused */
	double		run_s;			/* seconds left out, for runs */
	int			nruns;
	int64		runs[SLO_RUNS_MAX];
	uint64		limited;		/* logins refused by limits of roles and databases, and others of their own */
	uint64		not_accepting;	/* ... while the server accepted none */
} Slo;

/* Begins an account of the time from "from" to "to". */
extern void slo_begin(Slo *slo, TimestampTz from, TimestampTz to);

/* Adds a second that lies in it; others, gaps, and those whose refusals were not counted, are left out. */
extern void slo_add(Slo *slo, const RecordedSecond *second);

/* Seconds of it of which nothing is known. */
extern double slo_unmeasured_s(const Slo *slo);

/* Good of measured, 0 to 1; NaN: nothing was measured. */
extern double slo_level(const SloCount *count);

/*
 * How many times as fast as the objective, 0 to less than 1, allows the budget burns;
 * over the whole time, that is the share of the budget which is used.  NaN: nothing was
 * measured.
 */
extern double slo_burn(const SloCount *count, double objective);

/* The alert that holds at the end of the time, or NULL. */
extern const char *slo_alert(const Slo *slo, SloIndicator indicator, double objective);

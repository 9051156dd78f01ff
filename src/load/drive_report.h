/*
 * drive_report.h
 *		What a driver says of its share of a load, as rows of SQL: the driver writes
 *		them, the coordinator reads them.
 *
 * Both are of one version, so that members of enums mean the same in both.
 */
#pragma once

#include "base/cause.h"
#include "base/histogram.h"
#include "libpq-fe.h"
#include "load/login.h"

/* Its counters have the names that PoolStats has, and count from the begin of the drive. */
#define DRIVE_COUNTERS(COUNTER) \
	COUNTER(granted) \
	COUNTER(refused) \
	COUNTER(timed_out) \
	COUNTER(failed) \
	COUNTER(canceled) \
	COUNTER(released) \
	COUNTER(lost) \
	COUNTER(given_up) \
	COUNTER(broken) \
	COUNTER(stalled)

/* What it says once, by name: the counters, and where it is. */
#define DRIVE_NUMBERS(NUMBER) \
	DRIVE_COUNTERS(NUMBER) \
	NUMBER(clock_us)			/* of the driver, monotonic */ \
	NUMBER(began_us)			/* when it began what it was asked for at a set time; 0 = not yet */ \
	NUMBER(asked)				/* acquires of all kinds ... */ \
	NUMBER(wanted)				/* ... and those that have not ended */ \
	NUMBER(held) \
	NUMBER(open)				/* sessions, from the login to the close ... */ \
	NUMBER(opening)				/* ... those of them that log in ... */ \
	NUMBER(idle)				/* ... and those of them that no client holds */ \
	NUMBER(absent_us)			/* so late something was done there, at the most */ \
	NUMBER(slowest_refusal_us)

#define DRIVE_NUMBER_FIELD(name) uint64 name;

/* Why something came to nothing there, last: see Pool. */
#define DRIVE_FAILURES(FAILURE) \
	FAILURE(last_failure) \
	FAILURE(last_refusal) \
	FAILURE(last_loss)

#define DRIVE_FAILURE_FIELD(name) ConnectResult name;

typedef struct DriveReport
{
	DRIVE_NUMBERS(DRIVE_NUMBER_FIELD)
	DRIVE_FAILURES(DRIVE_FAILURE_FIELD)
	uint64		refused_by[CAUSES];
	Histogram	waits;			/* of the grants since the report before */
} DriveReport;

/* A number, or a failure, of a report: its name is the item of its row. */
typedef struct DriveField
{
	const char *name;
	size_t		offset;
} DriveField;

extern const DriveField drive_numbers[];
extern const DriveField drive_failures[];
extern const int ndrive_numbers;
extern const int ndrive_failures;

/* The other items: a row for each cause, and for each bucket. */
#define DRIVE_REFUSED_BY	"refused_by"	/* key: the cause */
#define DRIVE_WAITS			"waits" /* key: microseconds, see histogram_pairs() */

static inline uint64 *
drive_number(const DriveReport *report, const DriveField *field)
{
	return (uint64 *) ((char *) report + field->offset);
}

static inline ConnectResult *
drive_failure(const DriveReport *report, const DriveField *field)
{
	return (ConnectResult *) ((char *) report + field->offset);
}

/* Adds a row to a report. */
typedef void (*DriveRowPut) (void *arg, const char *item, int64 key, int64 value, const char *message);

extern const DriveField *drive_field_find(const DriveField *fields, int n, const char *name);
extern bool drive_report_read(DriveReport *report, const PGresult *rows);

/*
 * drive_report.c
 *		What a driver says of its share of a load.
 */
#include "postgres.h"

#include "load/drive_report.h"

#define NUMBER_FIELD(name_)		{#name_, offsetof(DriveReport, name_)},

const DriveField drive_numbers[] = {DRIVE_NUMBERS(NUMBER_FIELD)};
const DriveField drive_failures[] = {DRIVE_FAILURES(NUMBER_FIELD)};
const int	ndrive_numbers = lengthof(drive_numbers);
const int	ndrive_failures = lengthof(drive_failures);

/* Returns the field of that name, NULL if there is none. */
const DriveField *
drive_field_find(const DriveField *fields, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

/* "53300 no room": the SQLSTATE is blank if there is none. */
static void
failure_read(ConnectResult *failure, int64 end, int64 cause, const char *text)
{
	size_t		len = strcspn(text, " ");

	*failure = (ConnectResult) {0};
	failure->end = (ConnectEnd) Min(Max(end, CONNECT_GRANTED), CONNECT_BROKEN);
	failure->cause = (Cause) Min(Max(cause, CAUSE_NONE), CAUSES - 1);
	if (len == 5)
		strlcpy(failure->sqlstate, text, sizeof(failure->sqlstate));
	strlcpy(failure->message, text[len] != '\0' ? text + len + 1 : "", MESSAGE_LEN);
}

static void
row_read(DriveReport *report, const char *item, int64 key, int64 value, const char *message)
{
	const DriveField *number = drive_field_find(drive_numbers, ndrive_numbers, item);
	const DriveField *failure = drive_field_find(drive_failures, ndrive_failures, item);

	if (number != NULL)
		*drive_number(report, number) = (uint64) Max(value, 0);
	else if (failure != NULL)
		failure_read(drive_failure(report, failure), key, value, message);
	else if (strcmp(item, DRIVE_REFUSED_BY) == 0 && key >= 0 && key < CAUSES)
		report->refused_by[key] = (uint64) Max(value, 0);
	else if (strcmp(item, DRIVE_WAITS) == 0 && key >= 0 && value > 0)
		histogram_add_pair(&report->waits, (uint64) key, (uint64) value);
}

/*
 * Reads a whole report; false if that is none: it has not the columns, or no clock.
 * It runs inside the loop, and believes the other side nothing but its counts.
 */
bool
drive_report_read(DriveReport *report, const PGresult *rows)
{
	memset(report, 0, sizeof(*report));
	if (PQnfields(rows) != 4)
		return false;
	for (int i = 0; i < PQntuples(rows); i++)
		row_read(report, PQgetvalue(rows, i, 0), strtoll(PQgetvalue(rows, i, 1), NULL, 10),
				 strtoll(PQgetvalue(rows, i, 2), NULL, 10), PQgetvalue(rows, i, 3));
	return report->clock_us > 0;
}

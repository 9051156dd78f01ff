/*
 * moment.c
 *		Moments that pages are asked for.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "observe/monitor/http/moment.h"

/* "2026-11-28 02:47:00", with T or a blank, and Z or nothing at its end: the time zone of the server. */
static bool
parse_date(const char *text, TimestampTz *at)
{
	struct pg_tm tm = {0};
	char		separator;
	int			length = -1;
	int			zone = 0;

	if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &separator, &tm.tm_hour, &tm.tm_min, &length) < 6 || length < 0 ||
		(separator != 'T' && separator != ' '))
		return false;
	text += length;
	length = -1;
	if (sscanf(text, ":%2d%n", &tm.tm_sec, &length) == 1 && length > 0)
		text += length;
	if (tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 ||
		tm.tm_year < 2000 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0)
		return false;
	if (*text == '\0')
		zone = DetermineTimeZoneOffset(&tm, session_timezone);
	else if (strcmp(text, "Z") != 0)
		return false;
	return tm2timestamp(&tm, 0, &zone, at) == 0;
}

/* Seconds since 1970 */
static bool
parse_epoch(const char *text, TimestampTz *at)
{
	char	   *end;
	double		epoch = strtod(text, &end);

	if (end == text || *end != '\0' || !(epoch >= 0 && epoch < 1e11))
		return false;
	*at = (TimestampTz) (epoch * USECS_PER_SEC) - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	return true;
}

bool
moment_parse(const char *text, TimestampTz *at)
{
	return parse_epoch(text, at) || parse_date(text, at);
}

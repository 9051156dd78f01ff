/*
 * live_text.c
 *		Names and moments, as the page /report shows them.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/text.h"
#include "observe/monitor/http/live_text.h"

/* Returns a name, which may be in any encoding, in one line of UTF-8; palloc'd. */
char *
live_name(const char *name)
{
	return text_printable(text_as_utf8(name));
}

/* Returns ROLE/APPLICATION_NAME; palloc'd. */
char *
live_service(const char *usename, const char *application_name)
{
	return live_name(psprintf("%s/%s", usename, application_name));
}

/* Returns a moment to the second, in the time zone of the server; palloc'd; "" for 0. */
char *
live_time(TimestampTz at)
{
	return pstrdup(at != 0 ? timestamptz_to_str(at - at % USECS_PER_SEC) : "");
}

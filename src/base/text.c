/*
 * text.c
 *		Numbers as people read them, and text that comes from elsewhere: another
 *		server, another database.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "base/text.h"

/*
 * Makes the text valid in that encoding, in place: if it is not, for it was cut
 * or is in another one, every byte beyond ASCII becomes '?'.
 */
void
text_make_valid(char *text, int encoding)
{
	int			len = strlen(text);

	if (pg_encoding_verifymbstr(encoding, text, len) == len)
		return;
	for (char *p = text; *p != '\0'; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
}

/*
 * Returns a copy that is UTF-8, in the current memory context: if the text is
 * not, every byte beyond ASCII becomes \xNN.  A backslash before an x becomes
 * \x5c, so that different texts stay different.
 */
char *
text_as_utf8(const char *text)
{
	int			len = strlen(text);
	bool		valid = pg_encoding_verifymbstr(PG_UTF8, text, len) == len;
	StringInfoData copy;

	initStringInfo(&copy);
	for (const char *p = text; *p != '\0'; p++)
	{
		if ((!valid && IS_HIGHBIT_SET(*p)) || (p[0] == '\\' && p[1] == 'x'))
			appendStringInfo(&copy, "\\x%02x", (unsigned char) *p);
		else
			appendStringInfoChar(&copy, *p);
	}
	return copy.data;
}

/*
 * Returns a number for people: four significant digits below 10,000, all of the
 * integer part from there on, no exponent; "never" for infinity, the time of what
 * did not happen.  palloc'd.
 */
char *
number_text(double value)
{
	double		magnitude = fabs(value);

	if (isinf(value))
		return pstrdup("never");
	if (magnitude >= 9999.5)
		return psprintf("%.0f", value);
	return psprintf(magnitude >= 1e-4 || magnitude == 0 ? "%.4g" : "%.8f", value);
}

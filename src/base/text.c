/*
 * text.c
 *		Numbers as people read them, and text that comes from elsewhere: another
 *		server, another database.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

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
 * Does a character of UTF-8 change how others are shown: a control character beyond
 * ASCII, a separator of lines, or one that turns the direction of what follows?
 */
static bool
utf8_is_control(const char *character)
{
	static const struct
	{
		pg_wchar	first;
		pg_wchar	last;
	}			controls[] = {{0x80, 0x9f}, {0x61c, 0x61c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
	pg_wchar	code = utf8_to_unicode((const unsigned char *) character);

	for (int i = 0; i < lengthof(controls); i++)
		if (code >= controls[i].first && code <= controls[i].last)
			return true;
	return false;
}

/* The encodings of ISO 8859 have control characters beyond ASCII, too. */
static bool
byte_is_control(unsigned char byte, int encoding)
{
	bool		iso = (encoding >= PG_LATIN1 && encoding <= PG_LATIN10) ||
		(encoding >= PG_ISO_8859_5 && encoding <= PG_ISO_8859_8);

	return byte < ' ' || byte == 0x7f || (iso && byte >= 0x80 && byte < 0xa0);
}

/* Returns the encoding of texts here: where there is none, what is UTF-8 stays. */
int
text_encoding(void)
{
	return GetDatabaseEncoding() == PG_SQL_ASCII ? PG_UTF8 : GetDatabaseEncoding();
}

static bool
text_is_plain(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/*
 * Makes a text from elsewhere fit to be shown, in place: in one line, valid in the
 * encoding of the database, and without what a terminal obeys.  White space becomes
 * a blank, any other character that is not to be shown '?'.
 */
void
text_make_printable(char *text)
{
	int			encoding = text_encoding();
	char	   *to = text;
	int			len;

	if (text_is_plain(text))
		return;					/* as most are */
	text_make_valid(text, encoding);
	for (const char *from = text; *from != '\0'; from += len)
	{
		len = pg_encoding_mblen(encoding, from);
		if (strchr("\t\n\v\f\r", *from) != NULL)
			*to++ = ' ';
		else if (len == 1 ? byte_is_control(*from, encoding) : encoding == PG_UTF8 && utf8_is_control(from))
			*to++ = '?';
		else
		{
			memmove(to, from, len);
			to += len;
		}
	}
	*to = '\0';
}

/* Copies what has a place in "size" bytes, cut between characters, and makes that printable. */
void
text_copy_printable(char *to, const char *from, int size)
{
	int			len = strlen(from);

	if (len >= size)
		len = pg_encoding_mbcliplen(text_encoding(), from, len, size - 1);
	memcpy(to, from, len);
	to[len] = '\0';
	text_make_printable(to);
}

/* Returns a copy of the text, palloc'd, that text_make_printable() has made so. */
char *
text_printable(const char *text)
{
	char	   *copy = pstrdup(text);

	text_make_printable(copy);
	return copy;
}

/*
 * Returns a copy, palloc'd, of so many bytes at the most, and a mark that it was cut if it
 * is longer than that.  It is cut between characters.
 */
char *
text_cut(const char *text, int length)
{
	int			len = strlen(text);

	if (len <= length)
		return pstrdup(text);
	return psprintf("%.*s...", pg_encoding_mbcliplen(text_encoding(), text, len, length), text);
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

/* Returns the interval as SQL writes it, palloc'd: "-00:00:01". */
char *
interval_text(const Interval *interval)
{
	return DatumGetCString(DirectFunctionCall1(interval_out, PointerGetDatum(interval)));
}

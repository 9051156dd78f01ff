/*
 * markup.c
 *		Text of the database in XML, HTML and markdown.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "base/markup.h"
#include "base/text.h"

#define REPLACEMENT	0xfffd		/* for characters that XML 1.0 or HTML cannot hold */

/*
 * Returns a text of this database as UTF-8, palloc'd; if it cannot be converted, every
 * byte beyond ASCII becomes '?'.  Where there is no encoding, it is taken for UTF-8.
 */
static char *
as_utf8(const char *text)
{
	int			len = strlen(text);
	int			size = len * MAX_CONVERSION_GROWTH + 1;
	int			encoding = text_encoding();
	Oid			conversion = encoding == PG_UTF8 ? InvalidOid : FindDefaultConversionProc(encoding, PG_UTF8);
	char	   *converted = palloc(size);

	if (!OidIsValid(conversion) ||
		pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8, (unsigned char *) unconstify(char *, text), len,
									  (unsigned char *) converted, size, true) != len)
		strlcpy(converted, text, size);
	text_make_valid(converted, PG_UTF8);
	return converted;
}

/* Can neither XML 1.0 nor HTML hold it?  A line feed and a tab they can. */
static bool
is_forbidden(pg_wchar code)
{
	return (code < ' ' && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0) ||
		(code >= 0xd800 && code < 0xe000) || (code >= 0xfdd0 && code < 0xfdf0) || (code & 0xfffe) == 0xfffe;
}

/* Appends a character, as a reference unless it is of ASCII and not among these. */
static void
append_character(StringInfo out, pg_wchar code, const char *references)
{
	if (is_forbidden(code))
		code = REPLACEMENT;
	if (code < ' ' || code > '~' || strchr(references, code) != NULL)
		appendStringInfo(out, "&#%u;", code);
	else
		appendStringInfoChar(out, code);
}

void
markup_text(StringInfo out, const char *text)
{
	int			len;

	for (const char *p = as_utf8(text); *p != '\0'; p += len)
	{
		len = pg_utf_mblen((const unsigned char *) p);
		append_character(out, utf8_to_unicode((const unsigned char *) p), "&<>\"'");
	}
}

/* Is the character amid a word, where an underscore is nothing special? */
static bool
is_amid_word(const char *begin, const char *p)
{
	return p > begin && isalnum((unsigned char) p[-1]) && isalnum((unsigned char) p[1]);
}

/*
 * An address becomes a link, and a name that stands after "@" gets a mail, wherever
 * these are text, also of references; an empty comment in them keeps them text.
 */
void
markdown_text(StringInfo out, const char *text)
{
	const char *utf8 = as_utf8(text);
	int			len;

	for (const char *p = utf8; *p != '\0'; p += len)
	{
		len = pg_utf_mblen((const unsigned char *) p);
		if (*p == '.' && p > utf8 && pg_tolower(p[-1]) == 'w')
			appendStringInfoString(out, "<!-- -->");
		append_character(out, utf8_to_unicode((const unsigned char *) p),
						 *p == '_' && is_amid_word(utf8, p) ? "" : "&<>\"'`*_~|\\[]$\n\t");
		if (*p == '@' || (*p == ':' && p[1] == '/'))
			appendStringInfoString(out, "<!-- -->");
	}
}

/*
 * markup.h
 *		Text of the database in XML, HTML and markdown, so that it is text there and
 *		nothing else.
 *
 * All of it is ASCII: any other character is a numeric reference, so it does not
 * matter which encoding the client has.
 */
#pragma once

#include "lib/stringinfo.h"

/* Between tags, and between the quotes of an attribute; of XML and HTML alike. */
extern void markup_text(StringInfo out, const char *text);

/* In a paragraph, a list or the cell of a table of markdown, inside and outside HTML. */
extern void markdown_text(StringInfo out, const char *text);

/*
 * text.h
 *		Text that comes from elsewhere.
 */
#pragma once

extern void text_make_valid(char *text, int encoding);
extern char *text_as_utf8(const char *text);

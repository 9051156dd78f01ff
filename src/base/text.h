/*
 * text.h
 *		Numbers as people read them, and text that comes from elsewhere.
 */
#pragma once

#include "datatype/timestamp.h"

extern int	text_encoding(void);
extern void text_make_valid(char *text, int encoding);
extern void text_make_printable(char *text);
extern void text_copy_printable(char *to, const char *from, int size);
extern char *text_printable(const char *text);
extern char *text_cut(const char *text, int length);
extern char *text_as_utf8(const char *text);
extern char *number_text(double value);
extern char *interval_text(const Interval *interval);

/*
 * table.h
 *		A table of a page: HTML, the first cell of a row being its header.
 */
#pragma once

#include "lib/stringinfo.h"

extern void table_begin(StringInfo out, const char *caption, int n, const char *const *columns);
extern void table_begin_stacking(StringInfo out, const char *caption, int n, const char *const *columns);
extern void table_begin_names(StringInfo out, const char *caption, int n, const char *const *columns);
extern void table_row(StringInfo out, const char *header);
extern void table_text(StringInfo out, const char *text);
extern void table_named_text(StringInfo out, const char *name, const char *text);
extern void table_named_short(StringInfo out, const char *name, const char *text);
extern void table_number(StringInfo out, double value);
extern void table_row_end(StringInfo out);
extern void table_end(StringInfo out);

/*
 * page.h
 *		A page of HTML that needs nothing but itself: no script, no network.
 */
#pragma once

#include "lib/stringinfo.h"

extern void page_begin(StringInfo out, const char *title);
extern void page_end(StringInfo out);
extern void page_heading(StringInfo out, int level, const char *text);
extern void page_badge(StringInfo out, const char *word);

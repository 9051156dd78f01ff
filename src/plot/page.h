/*
 * page.h
 *		A page of HTML that needs nothing but itself: no script, no network.
 */
#pragma once

#include "lib/stringinfo.h"

/* The browser loads nothing, whatever a text in the page tries: header Content-Security-Policy. */
#define PAGE_POLICY	"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

extern void page_begin(StringInfo out, const char *title);
extern void page_begin_live(StringInfo out, const char *title, int refresh_s);
extern void page_end(StringInfo out);
extern void page_heading(StringInfo out, int level, const char *text);
extern void page_badge(StringInfo out, const char *word);
extern void page_paragraph(StringInfo out, const char *class, const char *text);

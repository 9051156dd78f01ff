/*
 * text.h
 *		Text that comes from elsewhere.
 */
#ifndef POOL_EXHAUST_BASE_TEXT_H
#define POOL_EXHAUST_BASE_TEXT_H

extern void text_make_valid(char *text, int encoding);
extern char *text_as_utf8(const char *text);

#endif							/* POOL_EXHAUST_BASE_TEXT_H */

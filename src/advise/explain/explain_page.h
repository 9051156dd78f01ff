/*
 * explain_page.h
 *		The page /explain.
 */
#pragma once

extern void explain_page_init(void);

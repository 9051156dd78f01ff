/*
 * live_page.h
 *		The page /report.
 */
#pragma once

#include "lib/stringinfo.h"

extern void live_page_write(StringInfo out, bool refresh);

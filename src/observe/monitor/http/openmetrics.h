/*
 * openmetrics.h
 *		The page /metrics.
 */
#pragma once

#include "lib/stringinfo.h"

extern void openmetrics_write(StringInfo out, bool openmetrics);

/* Counts a response, so that the page can show how many there were. */
extern void openmetrics_count_response(int status);

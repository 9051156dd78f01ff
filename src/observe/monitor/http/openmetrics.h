/*
 * openmetrics.h
 *		The page /metrics.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_HTTP_OPENMETRICS_H
#define POOL_EXHAUST_OBSERVE_MONITOR_HTTP_OPENMETRICS_H

#include "lib/stringinfo.h"

extern void openmetrics_write(StringInfo out, bool openmetrics);

/* Counts a response, so that the page can show how many there were. */
extern void openmetrics_count_response(int status);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_HTTP_OPENMETRICS_H */

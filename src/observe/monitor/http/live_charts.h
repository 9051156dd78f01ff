/*
 * live_charts.h
 *		The charts of the page /report.
 */
#pragma once

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#include "observe/monitor/pools.h"

extern void live_charts(StringInfo out, TimestampTz now, const PoolRow *server);

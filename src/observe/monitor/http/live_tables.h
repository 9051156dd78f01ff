/*
 * live_tables.h
 *		The tables of the page /report.
 */
#pragma once

#include "lib/stringinfo.h"

#include "observe/monitor/pools.h"

extern void live_refused_services(StringInfo out);
extern void live_leaks(StringInfo out);
extern void live_runs(StringInfo out);
extern void live_pools(StringInfo out, const PoolRow *pools, int n);
extern void live_health_changes(StringInfo out);

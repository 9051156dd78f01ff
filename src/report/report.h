/*
 * report.h
 *		What a run found, for eyes and for machines.
 */
#ifndef POOL_EXHAUST_REPORT_REPORT_H
#define POOL_EXHAUST_REPORT_REPORT_H

#include "funcapi.h"

typedef enum ReportFormat
{
	REPORT_TEXT,
	REPORT_JSON,
	REPORT_TAP
} ReportFormat;

extern ReportFormat report_format_find(const char *name);
extern void report_put(ReturnSetInfo *rsinfo, int64 run_id, ReportFormat format);
extern int64 report_latest(void);
extern bool report_verdict(int64 run_id, char **verdict);
extern char *report_failures(int64 run_id);

#endif							/* POOL_EXHAUST_REPORT_REPORT_H */

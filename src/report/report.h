/*
 * report.h
 *		What a run found, for eyes and for machines.
 */
#pragma once

#include "funcapi.h"

#include "report/format.h"

extern const ReportFormat *report_format_find(const char *name);
extern const ReportFormat *compare_format_find(const char *name);
extern const ReportFormat *document_format_find(const char *name);
extern void report_put(ReturnSetInfo *rsinfo, int64 run_id, const ReportEnd *end, const ReportFormat *format);
extern void report_put_document(ReturnSetInfo *rsinfo, const ReportData *document, const ReportFormat *format);
extern void report_put_several(ReturnSetInfo *rsinfo, const int64 *run_ids, int n, const ReportFormat *format);
extern void compare_put(ReturnSetInfo *rsinfo, const ReportData *base, const ReportData *candidate, const ReportFormat *format);
extern char *report_failures(int64 run_id, const ReportEnd *end);
extern char *document_failures(const ReportData *data);

/* Read from the tables: see read.c. */
extern int64 report_latest(void);
extern bool report_verdict(int64 run_id, char **verdict);

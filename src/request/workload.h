/*
 * workload.h
 *		What SQL may be the workload of a run.
 */
#pragma once

extern void workload_require(const char *sql);

/*
 * workload.h
 *		What SQL may be the workload of a run.
 */
#ifndef POOL_EXHAUST_REQUEST_WORKLOAD_H
#define POOL_EXHAUST_REQUEST_WORKLOAD_H

extern void workload_require(const char *sql);

#endif							/* POOL_EXHAUST_REQUEST_WORKLOAD_H */

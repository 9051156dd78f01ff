/*
 * foreign_server.h
 *		Foreign servers of the wrapper pool_exhaust, as targets.
 */
#ifndef POOL_EXHAUST_REQUEST_FOREIGN_SERVER_H
#define POOL_EXHAUST_REQUEST_FOREIGN_SERVER_H

#include "base/plan.h"
#include "load/target/endpoint.h"

extern bool foreign_find(const char *name, RunPlan *plan);
extern void foreign_require_mapping(Oid server, Oid user, TargetKind kind);
extern void foreign_read(Oid server, Oid user, TargetKind kind, Endpoint *endpoint);

#endif							/* POOL_EXHAUST_REQUEST_FOREIGN_SERVER_H */

/*
 * foreign.h
 *		Foreign servers of the wrapper pool_exhaust, as targets.
 */
#ifndef POOL_EXHAUST_FOREIGN_H
#define POOL_EXHAUST_FOREIGN_H

#include "load/endpoint.h"
#include "plan.h"

extern bool foreign_find(const char *name, RunPlan *plan);
extern void foreign_require_mapping(Oid server, Oid user, TargetKind kind);
extern void foreign_read(Oid server, Oid user, TargetKind kind, Endpoint *endpoint);

#endif							/* POOL_EXHAUST_FOREIGN_H */

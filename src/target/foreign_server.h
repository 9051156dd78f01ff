/*
 * foreign_server.h
 *		Foreign servers of the wrapper pool_exhaust, as targets.
 */
#ifndef POOL_EXHAUST_TARGET_FOREIGN_SERVER_H
#define POOL_EXHAUST_TARGET_FOREIGN_SERVER_H

#include "load/target/endpoint.h"
#include "story/scenario.h"

extern bool foreign_find(const char *name, RunRequest *request);
extern void foreign_require_mapping(Oid server, Oid user, TargetKind kind);
extern void foreign_require(const RunRequest *request, const Scenario *scenario, const Options *options);
extern void foreign_read(Oid server, Oid user, TargetKind kind, Endpoint *endpoint);

#endif							/* POOL_EXHAUST_TARGET_FOREIGN_SERVER_H */

/*
 * foreign_server.h
 *		Foreign servers of the wrapper pool_exhaust, as targets.
 */
#pragma once

#include "load/target/endpoint.h"
#include "story/scenario.h"

extern bool foreign_find(const char *name, RunRequest *request);
extern void foreign_require_mapping(Oid server, Oid user, TargetKind kind);
extern void foreign_require(const RunRequest *request, const Scenario *scenario, const Options *options);
extern void foreign_read(Oid server, Oid user, TargetKind kind, Endpoint *endpoint);

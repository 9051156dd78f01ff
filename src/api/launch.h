/*
 * launch.h
 *		What the SQL functions of runs and of holds have in common.
 */
#pragma once

#include "fmgr.h"

#include "request/run_table.h"

extern void arg_require(FunctionCallInfo fcinfo, int n, const char *name, const char *hint);
extern RunStatus run_launch(const RunRequest *request, RunState wanted, bool relay);

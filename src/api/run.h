/*
 * run.h
 *		Run control as SQL sees it.
 */
#pragma once

#include "fmgr.h"

#include "shmem/request.h"

extern void run_init(void);
extern void run_preflight_server(void);
extern void run_request_read(FunctionCallInfo fcinfo, RunRequest *request);

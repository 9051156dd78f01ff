/*
 * sweeper.h
 *		Launches the workers that clean up in one database.
 */
#pragma once

#include "postmaster/bgworker.h"

/* Is it visited after a crash?  Not a template that is closed, nor one that a DROP DATABASE has half dropped. */
#define SWEPT_DATABASE(form)	((form)->datconnlimit >= -1 && ((form)->datallowconn || !(form)->datistemplate))
#define SWEPT_DATABASE_SQL		"d.datconnlimit >= -1 AND (d.datallowconn OR NOT d.datistemplate)"

extern BackgroundWorkerHandle *sweeper_launch(Oid database, Oid role);
extern void sweeper_log_none(Oid database, const char *hint);
extern void sweeper_run(Oid database, Oid role);

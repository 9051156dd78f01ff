/*
 * sweeper.h
 *		Launches the workers that clean up in one database.
 */
#pragma once

#include "postmaster/bgworker.h"

extern BackgroundWorkerHandle *sweeper_launch(Oid database, Oid role);
extern void sweeper_run(Oid database, Oid role);

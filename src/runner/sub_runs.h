/*
 * sub_runs.h
 *		Runs that a run starts.
 */
#pragma once

#include "story/sub_runs.h"

extern const SubRunMethods sub_run_methods;

extern void sub_runs_end(Run *run);
extern int	sub_runs_left(Run *run);
extern void sub_runs_forget(Run *run);

/*
 * runner.h
 *		The runner: one background worker a run.
 */
#pragma once

extern PGDLLEXPORT void runner_main(Datum arg);

/*
 * run_entry.h
 *		Entries of the run table, for all that read them.
 */
#pragma once

#include "shmem/shared.h"

extern bool run_entry_is_busy(const RunEntry *entry);
extern void run_entry_copy(int number, RunEntry *entry);

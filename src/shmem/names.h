/*
 * names.h
 *		Bounded tables of names, with a counter each.
 */
#pragma once

#include "shmem/shared.h"

/* What stands for the names that found no place. */
#define NAMES_OTHERS "(others)"

extern void names_fill(Names *names, Cause cause, const char *usename,
					   const char *datname, const char *application_name);
extern NameEntry *names_find(NameTable *table, const Names *names, bool make);
extern void names_add_up(NameTable *table, const Names *names, int64 *count, int *peak);
extern bool names_count(NameTable *table, const Names *names, TimestampTz now);
extern void names_count_others(NameTable *table, TimestampTz now);
extern uint64 names_sum(NameTable *table, Cause cause, const char *usename, const char *datname);
extern void names_empty(NameTable *table);

/* The entry, or NULL if there is none at this place or it is not complete. */
extern NameEntry *names_entry(NameTable *table, int i);

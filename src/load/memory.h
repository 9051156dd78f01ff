/*
 * memory.h
 *		What libpq keeps of what the other side sends.
 */
#pragma once

/* The most for one session, and for all of a process, in MB. */
#define MEMORY_SESSION_MAX	64
#define MEMORY_ALL_MAX		256

/* Of one session, by the bytes that the process has grown.  All zero is one that keeps nothing. */
typedef struct Memory
{
	int64		before;			/* what the process had at memory_begin() */
	int64		kept;
} Memory;

extern void memory_begin(Memory *memory);
extern bool memory_end(Memory *memory);
extern void memory_forget(Memory *memory);

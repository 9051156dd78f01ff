/*
 * memory.c
 *		What libpq keeps of what the other side sends.
 *
 * libpq makes room for a message of any length when it has read its first bytes,
 * and keeps each parameter that it is sent; it has no limit, and does not say
 * how much it keeps.  The kernel knows how much memory the process has: what it has
 * more after a call of libpq than before is what that call took.  So a message
 * that is too long is known before it has come.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "load/memory.h"

#define MB				(INT64CONST(1024) * 1024)

/* Each session keeps buffers; that much does not count for all of them. */
#define ALLOWANCE		(256 * INT64CONST(1024))

static int64 kept_by_all;

/*
 * Bytes of the memory that this process alone writes, also where it has not yet
 * done so; 0 where the kernel does not say.
 */
static int64
process_memory(void)
{
	static int	fd = -1;
	char		text[128];
	long long	pages;
	ssize_t		n;

	if (fd < 0)
		fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	text[Max(n, 0)] = '\0';
	return sscanf(text, "%*s %*s %*s %*s %*s %lld", &pages) == 1 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

/* Sets what a session keeps. */
static void
memory_keep(Memory *memory, int64 bytes)
{
	kept_by_all += Max(bytes - ALLOWANCE, 0) - Max(memory->kept - ALLOWANCE, 0);
	memory->kept = bytes;
}

/* Before libpq works for the session. */
void
memory_begin(Memory *memory)
{
	memory->before = process_memory();
}

/* And after it; returns whether the session keeps no more than it may. */
bool
memory_end(Memory *memory)
{
	int64		grown = process_memory() - memory->before;

	if (grown != 0)
		memory_keep(memory, memory->kept + grown);
	return memory->kept <= MEMORY_SESSION_MAX * MB &&
		(grown <= 0 || kept_by_all <= MEMORY_ALL_MAX * MB);
}

/* libpq has let go of what it kept for the session. */
void
memory_forget(Memory *memory)
{
	memory_keep(memory, 0);
}

/*
 * processors.c
 *		How much of the processors' time this server took, and how much was left.
 *
 * Linux counts it for the machine and for each process.  That of a process that has
 * ended is its parent's: the postmaster has what all took that it has waited for,
 * refused clients too, which have no PGPROC.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"

#include "observe/slots/processors.h"

/* Less says nothing. */
#define TICKS_MIN	50

/*
 * A server that took less of the processors, or of what others left of them, in
 * percent, did not want for more: processes that mostly sleep run when they wake up.
 */
#define WANTED_PERCENT	8
#define TAKEN_PERCENT	67

/* Reads the begin of a file; "text" is "" if there is none. */
static void
file_read(const char *path, char *text, int size)
{
	FILE	   *file = fopen(path, "r");
	size_t		len = file != NULL ? fread(text, 1, size - 1, file) : 0;

	text[len] = '\0';
	if (file != NULL)
		fclose(file);
}

/*
 * Returns what the process has taken, and of those that it has waited for what
 * "ended" asks for; 0 if it is gone.  The name before the last parenthesis may
 * have any byte.
 */
static uint64
process_ticks(int pid, bool ended)
{
	char		path[64];
	char		text[1024];
	const char *fields;
	uint64		user,
				system,
				ended_user,
				ended_system;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file_read(path, text, sizeof(text));
	fields = strrchr(text, ')');
	if (fields == NULL ||
		sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u " UINT64_FORMAT " " UINT64_FORMAT " " UINT64_FORMAT " " UINT64_FORMAT,
			   &user, &system, &ended_user, &ended_system) != 4)
		return 0;
	return user + system + (ended ? ended_user + ended_system : 0);
}

/*
 * Fills in "times"; false if that is not to be had here.  Interrupts are no
 * process's, so they are left out.  Takes no lock; opens a file for each process of the
 * server, one after the other.
 */
bool
processors_read(ProcessorTimes *times)
{
	char		text[1024];
	uint64		user,
				nice,
				system,
				idle,
				iowait,
				stolen;

	file_read("/proc/stat", text, sizeof(text));
	if (sscanf(text, "cpu " UINT64_FORMAT " " UINT64_FORMAT " " UINT64_FORMAT " " UINT64_FORMAT " " UINT64_FORMAT " %*u %*u " UINT64_FORMAT,
			   &user, &nice, &system, &idle, &iowait, &stolen) != 6)
		return false;
	*times = (ProcessorTimes) {
		.all = user + nice + system + idle + iowait + stolen,
		.idle = idle + iowait,
	};
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		int			pid = ((volatile PGPROC *) &ProcGlobal->allProcs[i])->procLatch.owner_pid;

		if (pid != 0)
			times->ours += process_ticks(pid, false);
	}
	times->ours += process_ticks(PostmasterPid, true);
	return true;
}

/*
 * Returns the share of the processors, 0 to 1, that other processes, and other virtual
 * machines, took between two moments from a server that had use for it; 0 if it had
 * not, or if that was too short a time.
 */
double
processors_of_others(const ProcessorTimes *from, const ProcessorTimes *to)
{
	double		all = (double) to->all - from->all;
	double		ours = (double) to->ours - from->ours;
	double		left = Min((double) to->idle - from->idle + ours, all);

	if (all < TICKS_MIN || ours * 100 < all * WANTED_PERCENT || ours * 100 < left * TAKEN_PERCENT)
		return 0;
	return 1 - left / all;
}

/*
 * descriptors.c
 *		Room for the sockets of many sessions in one process.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "storage/fd.h"

#include "event/descriptors.h"

/* Makes room for that many sessions, and returns for how many there is. */
int
descriptors_raise(int sessions)
{
	rlim_t		beside = SPARE_DESCRIPTORS + (rlim_t) max_files_per_process;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		elog(ERROR, "could not read the limit of open files: %m");
	if (limit.rlim_cur < sessions + beside)
	{
		limit.rlim_cur = Min(limit.rlim_max, sessions + beside);
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			elog(ERROR, "could not raise the limit of open files: %m");
	}
	return (int) Min(sessions, limit.rlim_cur - Min(limit.rlim_cur, SPARE_DESCRIPTORS));
}

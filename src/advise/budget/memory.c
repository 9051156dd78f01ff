/*
 * memory.c
 *		What a connection of this server takes of the machine's memory: measured, of
 *		those that there are.
 *
 * That is its part of what is not shared memory (Pss), its page tables, and what the
 * kernel has for a process and its socket.  Shared memory is there anyway.  To measure a
 * process is to walk its page tables, so a few of each state have to do.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "advise/budget/budget.h"
#include "observe/slots/census.h"
#include "observe/slots/slot.h"

#define MEASURED_MAX	8		/* processes of each state */
#define KERNEL_KIB	150			/* stack, task, maps and socket, as bench/budget finds them */

/* What was measured of the processes of one state. */
typedef struct Measured
{
	int			n;
	double		kib;
} Measured;

/* Adds up the lines of a file in /proc that begin with that word; false if it cannot be read. */
static bool
proc_sum(const char *path, const char *word, double *kib)
{
	FILE	   *file = AllocateFile(path, "r");
	char		line[256];

	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, word, strlen(word)) == 0 && strchr(line, ':') != NULL)
			*kib += strtod(strchr(line, ':') + 1, NULL);
	FreeFile(file);
	return true;
}

static bool
measure(int pid, Measured *measured)
{
	const char *rollup = psprintf("/proc/%d/smaps_rollup", pid);
	double		kib = 0;

	if (!proc_sum(rollup, "Pss_Anon:", &kib) || kib == 0 || !proc_sum(rollup, "Pss_File:", &kib) ||
		!proc_sum(psprintf("/proc/%d/status", pid), "VmPTE:", &kib))
		return false;
	measured->n++;
	measured->kib += kib + KERNEL_KIB;
	return true;
}

static double
mean(const Measured *measured)
{
	return measured->n > 0 ? measured->kib / measured->n : 0;
}

/* Do all slots fit that are not taken yet?  A warning if not. */
static void
lint_memory(Budget *budget)
{
	Lint	   *lint = palloc(sizeof(Lint));
	Census		census;

	census_take(&census);
	*lint = (Lint)
	{
		.phase = "memory",
		.name = "memory of the free slots",
		.comparison = {OPERATOR_AT_MOST, rint(budget->memory.available_kib / 1024), 0, rint(census.free * budget->memory.active_kib / 1024)},
		.unit = "MB",
		.meaning = "max_connections allows more sessions than fit into memory, if they are like those that were measured",
	};
	budget->lints = lappend(budget->lints, lint);
}

/* Measures some idle and some active sessions, this one among them, and what is available. */
void
memory_measure(Budget *budget)
{
	BudgetMemory *memory = &budget->memory;
	Measured	idle = {0};
	Measured	active = {0};
	Slot		slot;

	(void) measure(MyProcPid, &active);
	for (int i = 0; i < MaxConnections; i++)
	{
		Measured   *measured;

		if (!slot_read(i, &slot) || slot.pid == MyProcPid || slot.state == SLOT_AUTHENTICATING)
			continue;
		measured = slot.state == SLOT_IDLE ? &idle : &active;
		if (measured->n < MEASURED_MAX)
			(void) measure(slot.pid, measured);
	}
	memory->known = active.n > 0 && proc_sum("/proc/meminfo", "MemAvailable:", &memory->available_kib) && memory->available_kib > 0;
	memory->nidle = idle.n;
	memory->nactive = active.n;
	memory->idle_kib = mean(&idle);
	memory->active_kib = Max(mean(&active), mean(&idle));
	if (memory->known)
		lint_memory(budget);
}

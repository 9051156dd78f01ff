/*
 * machine.c
 *		What the machine has for the sessions of one process: its limit of open files,
 *		ports, memory, and how many connections a listener can let wait.
 *
 * Linux says so in /proc.  Where there is no such file the figure is not known, and
 * nothing is refused for it.
 */
#include "postgres.h"

#include <ctype.h>

#include <sys/resource.h>

#include "storage/fd.h"

#include "event/machine.h"

#define IPV4_SETTINGS	"/proc/sys/net/ipv4/"

/* Reads the first line of a file; an empty one if there is none. */
static void
line_read(const char *path, char *line, int size)
{
	FILE	   *file = AllocateFile(path, "r");

	line[0] = '\0';
	if (file == NULL)
		return;
	if (fgets(line, size, file) == NULL)
		line[0] = '\0';
	FreeFile(file);
}

/* IPv6 takes its ports from the same range. */
static int64
ports_read(void)
{
	char		range[64];
	char		reserved[4096];
	int			low;
	int			high;

	line_read(IPV4_SETTINGS "ip_local_port_range", range, sizeof(range));
	line_read(IPV4_SETTINGS "ip_local_reserved_ports", reserved, sizeof(reserved));
	return sscanf(range, "%d %d", &low, &high) == 2 ? scale_ports(low, high, reserved) : 0;
}

/* Memory that is available without swapping, by the kernel's estimate. */
static int64
memory_read(void)
{
	FILE	   *file = AllocateFile("/proc/meminfo", "r");
	char		line[128];
	long long	kib = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "MemAvailable: %lld", &kib) == 1)
			break;
	FreeFile(file);
	return kib;
}

static int64
number_read(const char *path)
{
	char		line[64];

	line_read(path, line, sizeof(line));
	return strtol(line, NULL, 10);
}

/* Reads what there is for a process that inherits the limits of this one. */
void
machine_read(ScaleRoom *room)
{
	struct rlimit limit;

	memset(room, 0, sizeof(*room));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY)
		room->files = (int64) limit.rlim_max;
	room->ports = ports_read();
	room->memory_kib = memory_read();
	room->backlog = number_read("/proc/sys/net/core/somaxconn");
}

/* ERROR, with the numbers and what to do, if that is not enough for "what": "run". */
void
machine_require(const char *what, const ScaleNeed *need)
{
	ScaleRoom	room;
	ScaleLimit	limit;
	char		text[SCALE_TEXT_LEN];
	const char *help;

	machine_read(&room);
	limit = scale_short(need, &room);
	if (limit == SCALE_FITS)
		return;
	help = scale_help(limit);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("the %s needs %s", what, scale_text(text, sizeof(text), limit, need, &room)),
			 errhint("%c%s.", toupper((unsigned char) help[0]), help + 1)));
}

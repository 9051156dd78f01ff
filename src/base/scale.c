/*
 * scale.c
 *		What many sessions of one process take of its machine, and what is short first.
 *
 * The figures of a session are those of libpq and this code together, as measured by parts
 * "logins" and "pgbouncer" of bench/scale.  A limit that is not known is none.
 */
#include "postgres.h"

#include "base/scale.h"

/* Of one session: private memory of the process.  TCP takes no more than a unix socket: 13.4 KiB and 13.4. */
#define SESSION_KIB		14
#define TLS_KIB			54		/* more, under TLS: 67.9 KiB in all */

/* Of one login: what the process computes, on the machine of bench/README.md. */
#define SOCKET_MS		0.085
#define TCP_MS			0.055	/* more, with an address: 0.14 ms in all */
#define POOLER_SHARE	0.5		/* of both: it answers in one go, PgBouncer over TCP in 0.075 ms */
#define TLS_MS			0.95	/* more, under TLS 1.3 with a certificate of RSA, 2048 bits: 1.09 ms in all */
#define PASSWORD_MS		3.3		/* 3.1 to 3.8 more, by SCRAM with 4,096 rounds, the default of PostgreSQL */

#define LIMIT_NAME(member, name, units)		[member] = name,
#define LIMIT_UNITS(member, name, units)	[member] = units,

const char *const scale_limit_names[] = {SCALE_LIMIT_LIST(LIMIT_NAME)};
const char *const scale_limit_units[] = {SCALE_LIMIT_LIST(LIMIT_UNITS)};

static int
session_kib(const ScaleNeed *need)
{
	return SESSION_KIB + (need->tls ? TLS_KIB : 0);
}

/* Returns how much of that they take: files, ports to each address, KiB, logins that wait. */
int64
scale_needed(ScaleLimit limit, const ScaleNeed *need)
{
	switch (limit)
	{
		case SCALE_FILES:
			return (int64) need->sessions + SPARE_DESCRIPTORS;
		case SCALE_PORTS:
			return need->addresses == 0 ? 0 : ((int64) need->sessions + need->addresses - 1) / need->addresses;
		case SCALE_MEMORY:
			return (int64) need->sessions * session_kib(need);
		case SCALE_BACKLOG:
			return need->handshakes;
		default:
			return 0;
	}
}

/* Returns how much of that there is, in the same units; 0 = not known. */
int64
scale_there(ScaleLimit limit, const ScaleRoom *room)
{
	switch (limit)
	{
		case SCALE_FILES:
			return room->files;
		case SCALE_PORTS:
			return room->ports;
		case SCALE_MEMORY:
			return room->memory_kib;
		case SCALE_BACKLOG:
			return room->backlog;
		default:
			return 0;
	}
}

/* Returns how many sessions of that sort the limit allows; -1: as many as one likes, or that is not known. */
int64
scale_sessions(ScaleLimit limit, const ScaleNeed *need, const ScaleRoom *room)
{
	int64		there = scale_there(limit, room);

	if (there == 0 || (limit == SCALE_PORTS && need->addresses == 0))
		return -1;
	switch (limit)
	{
		case SCALE_FILES:
			return Max(there - SPARE_DESCRIPTORS, 0);
		case SCALE_PORTS:
			return there * need->addresses;
		case SCALE_MEMORY:
			return there / session_kib(need);
		default:
			return -1;
	}
}

/* Returns how much of a core the process takes for one login, in milliseconds. */
double
scale_login_ms(const ScaleNeed *need)
{
	double		bare = SOCKET_MS + (need->addresses > 0 ? TCP_MS : 0);

	return bare * (need->pooler ? POOLER_SHARE : 1) + (need->tls ? TLS_MS : 0) + (need->password ? PASSWORD_MS : 0);
}

/* Returns what is short, the first of the list if several are; SCALE_FITS if nothing is. */
ScaleLimit
scale_short(const ScaleNeed *need, const ScaleRoom *room)
{
	for (ScaleLimit limit = 0; limit < SCALE_LIMITS; limit++)
	{
		int64		there = scale_there(limit, room);

		if (there > 0 && scale_needed(limit, need) > there)
			return limit;
	}
	return SCALE_FITS;
}

/* Says with the numbers what is needed and what there is: "20072 open files, but ...".  Returns buf. */
const char *
scale_text(char *buf, size_t size, ScaleLimit limit, const ScaleNeed *need, const ScaleRoom *room)
{
	static const struct
	{
		const char *format;
		int			unit;
	}			texts[] = {
		[SCALE_FILES] = {INT64_FORMAT " open files, but the server's hard limit is " INT64_FORMAT, 1},
		[SCALE_PORTS] = {INT64_FORMAT " ports to one address, but this machine has " INT64_FORMAT, 1},
		[SCALE_MEMORY] = {INT64_FORMAT " MB of memory for its connections, but " INT64_FORMAT " MB are available", 1024},
		[SCALE_BACKLOG] = {"a backlog of " INT64_FORMAT " logins, but listeners of this machine let " INT64_FORMAT " wait", 1},
	};
	int			unit = texts[limit].unit;

	snprintf(buf, size, texts[limit].format, (scale_needed(limit, need) + unit - 1) / unit,
			 scale_there(limit, room) / unit);
	return buf;
}

/* Returns what to do where that is short: "raise ...". */
const char *
scale_help(ScaleLimit limit)
{
	static const char *const helps[] = {
		[SCALE_FILES] = "raise the limit that the server is started with (ulimit -Hn, LimitNOFILE=)",
		[SCALE_PORTS] = "name more addresses of the target in the foreign server's option host, or widen net.ipv4.ip_local_port_range",
		[SCALE_MEMORY] = "open fewer connections from this machine",
		[SCALE_BACKLOG] = "lower option handshakes, or raise net.core.somaxconn and start the target anew",
	};

	return helps[limit];
}

/* Counts those of "8080,9148-9150" that lie between the two. */
static int64
reserved_between(int low, int high, const char *reserved)
{
	int64		sum = 0;

	while (*reserved >= '0' && *reserved <= '9')
	{
		char	   *end;
		long		first = strtol(reserved, &end, 10);
		long		last = *end == '-' ? strtol(end + 1, &end, 10) : first;

		sum += Max(Min(last, high) - Max(first, low) + 1, 0);
		reserved = *end == ',' ? end + 1 : end;
	}
	return sum;
}

/*
 * Returns how many ports a range has for connections to one address and port, without
 * those that are reserved, as the kernel lists them.
 */
int64
scale_ports(int low, int high, const char *reserved)
{
	return Max((int64) high - low + 1 - reserved_between(low, high, reserved), 0);
}

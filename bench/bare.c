/*
 * bare.c
 *		What opening connections costs with nothing but epoll and libpq.
 *
 *	bare -n CONNECTIONS -w HANDSHAKES [-U USER] [-P PASSWORD] [-d DATABASE] [-k] [-m] [-b]
 *
 * Opens the connections, with so many handshakes in flight, holds them all,
 * closes them all and waits until the server shows none of them.  With -k it
 * says "held" and keeps them until its standard input ends.  With -m each has a
 * name of its own, as role (USER_1, USER_2, ...) and as application.  It is the
 * measure for the extension, so it logs in with the same parameters and does
 * nothing else.  The server is that of PGHOST and PGPORT; a control connection
 * logs in as PGUSER and counts the others.  With -b that is a PgBouncer, whose
 * console, PGDATABASE=pgbouncer, counts them.  Prints one line of key=value:
 *
 *	fill_ms, rate		first connect to last grant; connections per second
 *	p50_ms, p99_ms		latency of a connect
 *	cpu_ms				own CPU per connection while they were opened
 *	memory_kib			growth of own private memory per connection
 *	release_ms			first close until pg_stat_activity, or the console, shows none
 *	release_cpu_ms		own CPU per connection of the closing alone
 */
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "libpq-fe.h"

#define EVENTS		64
#define POLL_MS		2			/* between two looks at pg_stat_activity ... */
#define POLL_SHARE	4			/* ... or so many times what one look takes */
#define SPARE_FILES 64

typedef struct Connection
{
	PGconn	   *conn;
	double		started_ms;
	double		took_ms;
	uint32_t	watched;		/* the events that epoll watches for */
} Connection;

static const char *user = "bench";
static const char *password = "bench";
static const char *database = "postgres";
static bool keep;
static bool many_names;
static bool pgbouncer;

static Connection *connections;
static int	wanted;
static int	window = 16;
static int	begun;
static int	granted;
static int	epoll;

static void __attribute__((noreturn))
die(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	fputs("bare: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	exit(1);
}

static double
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static double
cpu_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
		(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* The memory that this process has to itself. */
static double
memory_kib(void)
{
	FILE	   *file = fopen("/proc/self/smaps_rollup", "r");
	char		line[256];
	double		sum = 0;
	double		kib;

	if (file == NULL)
		die("could not open smaps_rollup");
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Private_Clean: %lf", &kib) == 1 ||
			sscanf(line, "Private_Dirty: %lf", &kib) == 1)
			sum += kib;
	fclose(file);
	return sum;
}

static void
raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("could not read the limit of open files");
	if (limit.rlim_cur >= (rlim_t) wanted + SPARE_FILES)
		return;
	limit.rlim_cur = (rlim_t) wanted + SPARE_FILES;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		die("the hard limit of open files is too low for %d connections", wanted);
}

static void
watch(Connection *c, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (c->watched == events)
		return;
	if (epoll_ctl(epoll, c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
				  PQsocket(c->conn), &event) != 0)
		die("could not watch a socket");
	c->watched = events;
}

/* Returns whether the connection is through. */
static bool
advance(Connection *c)
{
	switch (PQconnectPoll(c->conn))
	{
		case PGRES_POLLING_READING:
			watch(c, EPOLLIN);
			return false;
		case PGRES_POLLING_WRITING:
			watch(c, EPOLLOUT);
			return false;
		case PGRES_POLLING_OK:
			c->took_ms = now_ms() - c->started_ms;
			granted++;
			return true;
		default:
			die("%s", PQerrorMessage(c->conn));
	}
}

/* As the extension logs in.  A unix socket is connected from the start. */
static void
begin(void)
{
	const char *const keywords[] = {
		"host", "port", "sslmode", "dbname", "user", "password", "passfile",
		"gssencmode", "application_name", NULL
	};
	char		role[64];
	char		application[64];
	const char *const values[] = {
		getenv("PGHOST"), getenv("PGPORT"), "disable", database, role, password,
		"/dev/null", "disable", application, NULL
	};
	Connection *c = &connections[begun++];

	snprintf(role, sizeof(role), many_names ? "%s_%d" : "%s", user, begun);
	snprintf(application, sizeof(application), many_names ? "bare %d" : "bare", begun);
	c->started_ms = now_ms();
	c->conn = PQconnectStartParams(keywords, values, 0);
	if (PQstatus(c->conn) == CONNECTION_BAD)
		die("%s", PQerrorMessage(c->conn));
	if (PQhost(c->conn)[0] == '/')
		advance(c);
	else
		watch(c, EPOLLOUT);
}

static void
fill(void)
{
	struct epoll_event events[EVENTS];

	while (begun < wanted && begun < window)
		begin();
	while (granted < wanted)
	{
		int			n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++)
		{
			Connection *c = events[i].data.ptr;

			if (c->took_ms > 0)
				die("the server ended a connection");
			if (advance(c) && begun < wanted)
				begin();
		}
	}
}

static PGresult *
ask(PGconn *control, const char *query)
{
	PGresult   *result = PQexec(control, query);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(control));
	return result;
}

static int
column(const PGresult *result, int row, const char *name)
{
	return atoi(PQgetvalue(result, row, PQfnumber(result, name)));
}

static int
sessions_in_activity(PGconn *control)
{
	PGresult   *result = ask(control,
							 "SELECT count(*) FROM pg_catalog.pg_stat_activity "
							 "WHERE application_name LIKE 'bare%' AND backend_type = 'client backend'");
	int			n = column(result, 0, "count");

	PQclear(result);
	return n;
}

static int
clients_in_pools(PGconn *control)
{
	PGresult   *result = ask(control, "SHOW POOLS");
	int			n = 0;

	for (int i = 0; i < PQntuples(result); i++)
		if (strcmp(PQgetvalue(result, i, PQfnumber(result, "database")), database) == 0)
			n += column(result, i, "cl_active") + column(result, i, "cl_waiting");
	PQclear(result);
	return n;
}

static int
sessions_shown(PGconn *control)
{
	return pgbouncer ? clients_in_pools(control) : sessions_in_activity(control);
}

/* Looks again and again, but leaves the server most of its time. */
static void
wait_until_gone(PGconn *control)
{
	for (;;)
	{
		double		started = now_ms();

		if (sessions_shown(control) == 0)
			return;
		poll(NULL, 0, POLL_MS + POLL_SHARE * (int) (now_ms() - started));
	}
}

/* For a benchmark that needs them held. */
static void
wait_until_told(void)
{
	puts("held");
	fflush(stdout);
	while (getchar() != EOF)
		;
}

static int
by_latency(const void *a, const void *b)
{
	double		x = ((const Connection *) a)->took_ms;
	double		y = ((const Connection *) b)->took_ms;

	return (x > y) - (x < y);
}

static void
read_options(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "n:w:U:P:d:kmb")) != -1)
		switch (option)
		{
			case 'n':
				wanted = atoi(optarg);
				break;
			case 'w':
				window = atoi(optarg);
				break;
			case 'U':
				user = optarg;
				break;
			case 'P':
				password = optarg;
				break;
			case 'd':
				database = optarg;
				break;
			case 'k':
				keep = true;
				break;
			case 'm':
				many_names = true;
				break;
			case 'b':
				pgbouncer = true;
				break;
			default:
				wanted = 0;
		}
	if (wanted < 1 || window < 1 || optind < argc)
		die("usage: bare -n CONNECTIONS -w HANDSHAKES [-U USER] [-P PASSWORD] [-d DATABASE] [-k] [-m] [-b]");
}

int
main(int argc, char **argv)
{
	PGconn	   *control;
	double		memory;
	double		cpu;
	double		started;
	double		fill_ms;
	double		release_ms;
	double		release_cpu;

	read_options(argc, argv);
	raise_files();
	connections = calloc(wanted, sizeof(Connection));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (connections == NULL || epoll < 0)
		die("out of resources");
	control = PQconnectdb("");
	if (PQstatus(control) != CONNECTION_OK)
		die("%s", PQerrorMessage(control));
	wait_until_gone(control);

	memory = memory_kib();
	cpu = cpu_ms();
	started = now_ms();
	fill();
	fill_ms = now_ms() - started;
	cpu = cpu_ms() - cpu;
	memory = memory_kib() - memory;
	if (sessions_shown(control) != wanted)
		die("the server does not show %d connections", wanted);
	if (keep)
		wait_until_told();

	release_cpu = cpu_ms();
	started = now_ms();
	for (int i = 0; i < wanted; i++)
		PQfinish(connections[i].conn);
	release_cpu = cpu_ms() - release_cpu;
	wait_until_gone(control);
	release_ms = now_ms() - started;
	PQfinish(control);

	qsort(connections, wanted, sizeof(Connection), by_latency);
	printf("granted=%d handshakes=%d fill_ms=%.2f rate=%.1f p50_ms=%.2f p99_ms=%.2f "
		   "cpu_ms=%.4f memory_kib=%.2f release_ms=%.2f release_cpu_ms=%.4f\n",
		   granted, window, fill_ms, granted * 1e3 / fill_ms,
		   connections[wanted / 2].took_ms, connections[wanted * 99 / 100].took_ms,
		   cpu / granted, memory / granted, release_ms, release_cpu / granted);
	return 0;
}

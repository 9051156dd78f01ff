/*
 * foreign_console.c
 *		The console of a foreign server, asked once, by the backend of the caller.
 *
 * It is the probe of a run, on an event loop that lasts as long as the questions: so
 * what may be sent, and for how long, is bounded in the same way, and a cancel of the
 * statement ends it.  It needs the rights of a run: USAGE, and a mapping of the user's.
 */
#include "postgres.h"

#include "storage/fd.h"

#include "base/text.h"
#include "load/failure.h"
#include "load/resolve.h"
#include "target/foreign.h"
#include "target/target.h"

#define LOGIN_WAIT_MS	ANSWER_WAIT_MS
#define CONSOLE_WAIT_MS	(20 * 1000) /* for everything */
#define TURN_MS			1000

#define ANSWERS_MAX		8

/* libuv from 1.45 on has two rings of io_uring, too, where the kernel lets it. */
#define DESCRIPTORS_RINGS	(UV_VERSION_HEX >= 0x012d00 ? 2 : 0)

/*
 * Descriptors that PostgreSQL does not know of, at the most: the socket; libuv's epoll, its
 * event and a pipe for signals; of a host that is a name, an event and what the name server
 * is asked by.  The WaitEventSet counts its own.
 */
#define DESCRIPTORS			(1 + 4 + DESCRIPTORS_RINGS + 2)

/* From its first question on the process keeps another pipe of libuv's, and what memory.c reads. */
#define DESCRIPTORS_KEPT	(2 + 1)

#define APPLICATION_NAME "pool_exhaust budget"

typedef struct Console
{
	Probe		probe;			/* must be first */
	const char *name;			/* of the foreign server, to be shown */
	Endpoint   *endpoint;
	Login		login;			/* to one address of it */
	Loop		loop;
	Resolve		resolve;
	int			descriptors;	/* that are reserved for it */
	uint64		end_us;
	int			nanswers;
	PGresult   *answers[ANSWERS_MAX];
	bool		out_of_memory;
} Console;

static int	kept_descriptors;	/* that are reserved for good */

/* Those that show their settings, by their names; palloc'd. */
static char *
kinds_text(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < TARGET_KINDS; i++)
		if (target_types[i]->shows_settings)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", target_types[i]->name);
	return list.data;
}

/* ERROR unless there is such a foreign server, with such a console, that the user may aim at. */
static void
console_find(Console *console, const char *name)
{
	RunRequest	request = {0};

	console->name = text_printable(name);
	if (!foreign_find(name, &request))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no foreign server \"%s\" of pool_exhaust", console->name),
				 errhint("Name one of kind %s, as its CREATE SERVER does.", kinds_text())));
	if (!target_types[request.target]->shows_settings)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("foreign server \"%s\" is of kind %s, which has no console that shows its settings",
						console->name, target_types[request.target]->name),
				 errhint("Name one of kind %s.", kinds_text())));
	console->endpoint = foreign_endpoint(&request);
	login_add(&console->endpoint->console, "application_name", APPLICATION_NAME);
}

/* Returns what may help, palloc'd; NULL: nothing beyond what the console has said. */
static char *
console_hint(const ConnectResult *failure)
{
	static const char *const of_no_right[] = {"08P01", "28000", "42501"};	/* the first is what PgBouncer says to nearly everything */

	if (failure->sqlstate[0] == '\0')
		return psprintf("A PgBouncer must listen at the host and port of the foreign server, and have option console, or else \"pgbouncer\", as its console; "
						"it has %d s for a login or an answer, and %d s for everything.",
						LOGIN_WAIT_MS / 1000, CONSOLE_WAIT_MS / 1000);
	for (int i = 0; i < lengthof(of_no_right); i++)
		if (failure->end == CONNECT_DENIED && strcmp(failure->sqlstate, of_no_right[i]) == 0)
			return pstrdup("It may be that the user of the mapping, or its console_user, is none of stats_users and admin_users there.");
	return NULL;
}

/* ERROR: it was not to be had, or gave no answer. */
pg_noreturn static void
console_missed(const Console *console, const char *what, const ConnectResult *failure)
{
	const char *hint = console_hint(failure);

	if (strcmp(failure->sqlstate, PASSWORD_NOT_ASKED) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("%s", foreign_login_unasked("the console of ", console->name))));
	ereport(ERROR,
			(errcode(failure_code(failure)),
			 errmsg("could not %s the console of %s: %s", what, console->name, text_printable(connect_failure_text(failure))),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/* ---------- The login ---------- */

/* How long something may take that may take so long by itself. */
static int
patience_ms(const Console *console, int ms)
{
	uint64		now_us = loop_now_us();

	return now_us >= console->end_us ? 0 : (int) Min(ms, (console->end_us - now_us) / 1000);
}

/* Returns how many addresses the host has; 0: it is a socket. */
static int
console_resolve(Console *console)
{
	const char *host = console->endpoint->host;
	uint64		end_us = loop_now_us() + (uint64) patience_ms(console, LOGIN_WAIT_MS) * 1000;
	ConnectResult failure;
	int			n;

	if (host_is_socket(host))
		return 0;
	resolve_begin(&console->resolve, &console->loop, host);
	while (!console->resolve.done && loop_now_us() < end_us)
		loop_turn(&console->loop, TURN_MS);
	n = resolve_end(&console->resolve, host, &failure);
	if (n == 0)
		console_missed(console, "find", &failure);
	return n;
}

/* Logs in at that address, NULL for a socket; false if nothing there speaks to us. */
static bool
console_try(Console *console, const char *address)
{
	Probe	   *probe = &console->probe;

	while (probe->session.state != SESSION_UNUSED)
		loop_turn(&console->loop, TURN_MS);
	console->login = console->endpoint->console;
	if (address != NULL)
		login_add(&console->login, "hostaddr", address);
	probe_open(probe, &console->loop, &console->login, patience_ms(console, LOGIN_WAIT_MS));
	while (probe->state == PROBE_CONNECTING)
		loop_turn(&console->loop, TURN_MS);
	return probe->state == PROBE_READY ||
		(probe->failure.end != CONNECT_BROKEN && probe->failure.end != CONNECT_TIMED_OUT);
}

/* One address after the other, until one answers. */
static void
console_log_in(Console *console)
{
	int			n = console_resolve(console);

	for (int i = 0; i < Max(n, 1); i++)
		if (console_try(console, n > 0 ? console->resolve.addresses.text[i] : NULL))
			break;
	if (console->probe.state != PROBE_READY)
		console_missed(console, "log in to", &console->probe.failure);
}

/* ---------- To ask it ---------- */

/* Question.read() of those that foreign_console_ask() asks. */
void
foreign_console_keep(Probe *probe, const PGresult *rows)
{
	Console    *console = (Console *) probe;
	PGresult   *copy = rows == NULL ? NULL : PQcopyResult(rows, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);

	Assert(console->nanswers < ANSWERS_MAX);
	console->out_of_memory |= rows != NULL && copy == NULL;
	console->answers[console->nanswers++] = copy;
}

static void
console_ask(Console *console)
{
	Probe	   *probe = &console->probe;
	ConnectResult late = {CONNECT_TIMED_OUT, CAUSE_NONE, .message = "no answer in time"};

	while (!probe_refresh(probe, 1) && probe->state == PROBE_READY && patience_ms(console, TURN_MS) > 0)
		loop_turn(&console->loop, patience_ms(console, TURN_MS));
	if (probe->heard_us == 0)
		console_missed(console, "ask", probe->state == PROBE_LOST ? &probe->failure : &late);
	if (console->out_of_memory)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
}

/* Reserves descriptors until there are n of them. */
static void
console_take_descriptors(const Console *console, int *reserved, int n)
{
	for (; *reserved < n; (*reserved)++)
		if (!AcquireExternalFD())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("could not connect to the console of %s: there are too many open files", console->name),
					 errhint("Raise max_files_per_process, or the limit of open files of the server's account.")));
}

/* Also where it was never opened. */
static void
console_close(Console *console)
{
	resolve_give_up(&console->resolve);
	probe_close(&console->probe);
	loop_close(&console->loop);
	for (int i = 0; i < console->nanswers; i++)
		PQclear(console->answers[i]);
	for (; console->descriptors > 0; console->descriptors--)
		ReleaseExternalFD();
}

/*
 * Asks the console of the foreign server of that name, as the current user, and hands
 * the answers to "read": they stand until that returns; NULL is that of a question
 * that is not known there: Question.is_unknown().  No more than ANSWERS_MAX questions, which
 * foreign_console_keep() reads.  ERROR if there is no such server, or no answer.
 */
void
foreign_console_ask(const char *name, const Question *questions, ConsoleReader read, void *arg)
{
	Console    *console = palloc0(sizeof(Console));

	console_find(console, name);
	console->end_us = loop_now_us() + CONSOLE_WAIT_MS * UINT64CONST(1000);
	console->probe.questions = questions;
	PG_TRY();
	{
		console_take_descriptors(console, &kept_descriptors, DESCRIPTORS_KEPT);
		console_take_descriptors(console, &console->descriptors, DESCRIPTORS);
		loop_open(&console->loop, "PoolExhaustConsole");
		console_log_in(console);
		console_ask(console);
		read(arg, console->answers);
	}
	PG_FINALLY();
	{
		console_close(console);
	}
	PG_END_TRY();
}

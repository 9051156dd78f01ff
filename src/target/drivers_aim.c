/*
 * drivers_aim.c
 *		Is the target of drivers still there?
 *
 * A story waits for its target as long as it may, and one that is gone does nothing in all
 * that time.  So it is checked from time to time, wherever the story is: once the
 * coordinator has lost its own session there, and no driver has one that is open, the
 * coordinator tries to log in.  A target that says anything, if only that it refuses, is
 * there; so is one that has answered a driver since.
 */
#include "postgres.h"

#include "load/failure.h"
#include "load/target/endpoint.h"
#include "load/target/probe.h"
#include "target/drivers_aim.h"

#define GONE_US			(2 * INT64CONST(1000000))	/* without a sign of it */
#define TRY_MS			1000
#define TRY_PAUSE_US	(100 * 1000)

/* The other side has said nothing: the connection was refused by its machine, reset or lost, or there was no answer in time. */
static bool
is_silence(const ConnectResult *failure)
{
	return failure->sqlstate[0] == '\0' && (failure->end == CONNECT_BROKEN || failure->end == CONNECT_TIMED_OUT);
}

static bool
none_is_open(const Driver *drivers, int n)
{
	for (int i = 0; i < n; i++)
		if (drivers[i].report.open > drivers[i].report.opening)
			return false;
	return true;
}

/* What made it missed: the end of the coordinator's own session there, or what the drivers have said last. */
static const ConnectResult *
first_failure(const Run *run)
{
	const Probe *probe = run->parties[0].probe;
	const Pool *pool = run->pool;

	if (probe != NULL)
		return &probe->failure;
	return pool->failed_us > pool->lost_us ? &pool->last_failure : &pool->last_loss;
}

/* Is there a reason to look for it?  Where the network is cut sessions stay open. */
static bool
is_missed(const Run *run, const Driver *drivers, int n)
{
	const Probe *probe = run->parties[0].probe;
	const ConnectResult *failure = first_failure(run);

	if (probe != NULL ? probe->state != PROBE_LOST : run->pool->failed_us == 0 && run->pool->lost_us == 0)
		return false;
	return is_silence(failure) && (strcmp(failure->message, MACHINE_SILENT) == 0 || none_is_open(drivers, n));
}

/* How often it has answered a driver. */
static uint64
answers(const Run *run)
{
	const PoolStats *stats = &run->pool->stats;

	return stats->granted + stats->refused + stats->timed_out;
}

/* ---------- To try it ---------- */

static void
aim_connected(Session *session, const ConnectResult *result)
{
	Aim		   *aim = session->owner;

	aim->tries = false;
	aim->next_us = loop_now_us() + TRY_PAUSE_US;
	if (is_silence(result))
	{
		aim->failed = true;
		aim->failure = *result;
	}
	else
	{
		aim->since_us = 0;
		aim->next_us += GONE_US;
	}
	session_close(session);
}

static void
aim_try(Aim *aim, Run *run)
{
	static const SessionEvents events = {.connected = aim_connected, .lost = session_close};

	if (aim->tries || aim->session.state != SESSION_UNUSED || loop_now_us() < aim->next_us)
		return;
	aim->way = login_next(aim->way);
	aim->login = *aim->way;
	aim->login.next = NULL;
	login_add(&aim->login, "application_name", aim->name);
	aim->tries = true;
	aim->session.spared = true;
	session_open(&aim->session, &run->loop, &aim->login, TRY_MS, &events, aim);
}

/* Logins that are tried are of those ways in, by the name of the sessions that ask. */
void
aim_open(Aim *aim, const Login *way)
{
	aim->way = way;
	aim->name = psprintf("%s" PROBE_SUFFIX, login_value(way, "application_name"));
}

/*
 * Returns why the target is gone, as far as it was seen; palloc'd.  NULL: it is there, or
 * may be.  To be called from time to time, while the loop turns.
 */
char *
aim_why_gone(Aim *aim, Run *run, const Driver *drivers, int n)
{
	uint64		now_us = loop_now_us();

	if (!is_missed(run, drivers, n))
	{
		aim->since_us = 0;
		return NULL;
	}
	if (aim->since_us == 0 || aim->answers != answers(run))
	{
		aim->since_us = now_us;
		aim->answers = answers(run);
		aim->failed = false;
	}
	if (aim->failed && now_us - aim->since_us >= GONE_US)
		return psprintf("%s was lost: %s, no driver was granted or refused a connection for %.1f s, and this server cannot log in either: %s",
						run->request.target_name, connect_failure_text(first_failure(run)), (now_us - aim->since_us) / 1e6,
						connect_failure_text(&aim->failure));
	aim_try(aim, run);
	return NULL;
}

/* Tries no more. */
void
aim_close(Aim *aim)
{
	session_close(&aim->session);
}

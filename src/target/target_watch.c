/*
 * target_watch.c
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
#include "target/target_watch.h"

#define GONE_US			(2 * INT64CONST(1000000))	/* without a sign of it ... */
#define GONE_SILENT_US	(1 * INT64CONST(1000000))	/* ... where its machine took nothing before */
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

/* Is there a reason to try it?  Where the network is cut sessions stay open. */
static bool
is_missed(const Run *run, const Driver *drivers, int n)
{
	const Probe *probe = run->parties[0].probe;
	const ConnectResult *failure = first_failure(run);

	if (probe != NULL ? probe->state != PROBE_LOST : run->pool->failed_us == 0 && run->pool->lost_us == 0)
		return false;
	return is_silence(failure) && (machine_is_silent(failure) || none_is_open(drivers, n));
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
target_connected(Session *session, const ConnectResult *result)
{
	TargetWatch *watch = session->owner;

	watch->tries = false;
	watch->next_us = loop_now_us() + TRY_PAUSE_US;
	if (is_silence(result))
	{
		watch->failed = true;
		watch->failure = *result;
	}
	else
	{
		watch->since_us = 0;
		watch->next_us += GONE_US;
	}
	session_close(session);
}

static void
target_try(TargetWatch *watch, Run *run)
{
	static const SessionEvents events = {.connected = target_connected, .lost = session_close};

	if (watch->tries || watch->session.state != SESSION_UNUSED || loop_now_us() < watch->next_us)
		return;
	watch->tried = login_next(watch->tried);
	watch->login = *watch->tried;
	watch->login.next = NULL;
	login_add(&watch->login, "application_name", watch->name);
	watch->tries = true;
	watch->session.spared = true;
	session_open(&watch->session, &run->loop, &watch->login, TRY_MS, &events, watch);
}

/* Logins that are tried are of that ring, by the name of the sessions that ask. */
void
target_watch_open(TargetWatch *watch, const Login *ring)
{
	watch->tried = ring;
	watch->name = psprintf("%s" PROBE_SUFFIX, login_value(ring, "application_name"));
}

/*
 * Returns why the target is gone, as far as it was seen; palloc'd.  NULL: it is there, or
 * may be.  To be called from time to time, while the loop turns.
 */
char *
target_why_gone(TargetWatch *watch, Run *run, const Driver *drivers, int n)
{
	uint64		now_us = loop_now_us();
	uint64		gone_us = machine_is_silent(first_failure(run)) ? GONE_SILENT_US : GONE_US;

	if (!is_missed(run, drivers, n))
	{
		watch->since_us = 0;
		return NULL;
	}
	if (watch->since_us == 0 || watch->answers != answers(run))
	{
		watch->since_us = now_us;
		watch->answers = answers(run);
		watch->failed = false;
	}
	if (watch->failed && now_us - watch->since_us >= gone_us)
		return psprintf("%s was lost: %s, no driver was granted or refused a connection for %.1f s, and this server cannot log in either: %s",
						run->request.target_name, connect_failure_text(first_failure(run)), (now_us - watch->since_us) / 1e6,
						connect_failure_text(&watch->failure));
	target_try(watch, run);
	return NULL;
}

/* Tries no more. */
void
target_watch_close(TargetWatch *watch)
{
	session_close(&watch->session);
}

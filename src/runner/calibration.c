/*
 * calibration.c
 *		How fast the machine was when a run began: the same work each time, before
 *		the pools and the story.
 *
 * Two runs on one machine differ by what else it does.  Divided by this they
 * differ less.  The logins are those of the run's first role, over its own way in.
 * Each session is gone before the next one begins, and the last before the story.
 *
 * Each sub-run of "all" does it for itself, also beside others: so is the machine
 * that its own figures come from.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/rank_test.h"
#include "load/target/local_endpoint.h"
#include "observe/slots/census.h"
#include "runner/calibration.h"
#include "story/story.h"

#define LOGINS_US		(100 * 1000)	/* a login that has begun by then is the last one */
#define LOGINS_MAX		1000
#define LOOPS_US		(100 * 1000)
#define LOOP_STEPS		10000
#define SLICE_US		2000	/* then the event loop turns */

static bool enabled = true;

void
calibration_init(void)
{
	DefineCustomBoolVariable("pool_exhaust.calibration",
							 "Measures how fast the machine is when a run begins.",
							 "That takes 200 ms: logins to this server, and a fixed loop.",
							 &enabled, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* Waits until the session of the login before has left its slot; ends the run as invalid if it does not. */
static void
require_gone(Run *run, Oid role)
{
	poll_until(run, census_role_sessions(role, NULL, 0) == 0, release_ms(run));
	if (census_role_sessions(role, NULL, 0) > 0)
		run_end(run, VERDICT_INVALID, "a session of the calibration does not end; pool_exhaust_backends has its pid");
}

/* Logs in and out again; returns how long the login took, 0 if it was not granted.  Chaos leaves it alone. */
static uint64
login_us(Run *run)
{
	const RunParty *party = &run->parties[0];
	LocalEndpoint local = {.login = *party->login};
	ConnectResult result;

	local.login.hooks = NULL;
	result = local_endpoint_try(&run->loop, &local, party->role, login_ms(run), run_must_end, run);
	run_end_if_must(run);
	require_gone(run, party->role);
	return result.end == CONNECT_GRANTED ? Max(result.took_us, 1) : 0;
}

/* By the median of the logins: one that was held up for a moment says nothing of the machine. */
static void
calibrate_logins(Run *run)
{
	uint64		end_us = loop_now_us() + LOGINS_US;
	double		took_us[LOGINS_MAX];
	int			n = 0;

	while (n < LOGINS_MAX && (n == 0 || loop_now_us() < end_us))
	{
		took_us[n] = login_us(run);
		if (took_us[n] == 0)
			break;
		n++;
	}
	if (n > 0)
		run->calibration.logins_per_s = 1e6 / sample_median(n, took_us);
}

/* A fixed amount of work: each step needs the one before. */
static uint64
work(uint64 x)
{
	for (int i = 0; i < LOOP_STEPS; i++)
	{
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

static void
calibrate_loops(Run *run)
{
	volatile uint64 x = 1;		/* or else the compiler leaves the work out */
	uint64		spent_us = 0;
	int			n = 0;

	while (spent_us < LOOPS_US)
	{
		uint64		begun_us = loop_now_us();
		uint64		took_us;

		do
		{
			x = work(x);
			n++;
			took_us = loop_now_us() - begun_us;
		} while (took_us < SLICE_US);
		spent_us += took_us;
		loop_turn(&run->loop, 0);
		run_end_if_must(run);
	}
	run->calibration.loops_per_s = n * 1e6 / spent_us;
}

/*
 * Measures it, unless it is switched off; the parties are open, and have no session
 * yet.  Ends the run if it must end meanwhile.
 */
void
calibrate(Run *run)
{
	if (!enabled)
		return;
	if (run->nparties > 0 && OidIsValid(run->parties[0].role))
		calibrate_logins(run);
	calibrate_loops(run);
}

static char *
number_json(double number)
{
	return number > 0 ? psprintf("%.6g", number) : pstrdup("null");
}

/*
 * Returns it as the text of a JSON object, palloc'd, "" if nothing was measured:
 * logins_per_s (null: the target is not this server) and loops_per_s.
 */
char *
calibration_json(const Run *run)
{
	const Calibration *c = &run->calibration;

	if (c->loops_per_s == 0)
		return pstrdup("");
	return psprintf("{\"logins_per_s\": %s, \"loops_per_s\": %s}",
					number_json(c->logins_per_s), number_json(c->loops_per_s));
}

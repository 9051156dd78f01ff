/*
 * drivers.c
 *		The drivers of a run, from the side of its coordinator.
 *
 * Each is prepared first: it has the same extension, may log in to a target that its
 * own administrator has named, and that is this run's; and what its clock says is known.  Then
 * they are one pool: see pool_drivers.c.  One that is lost ends the run.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/text.h"
#include "load/failure.h"
#include "load/pool/pool_drivers.h"
#include "target/drivers.h"
#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"
#include "target/target_watch.h"

#define ANSWER_MS		(4 * 1000)
#define SHOWN_MS		(2 * 1000)	/* until the target shows that sessions have come or gone */
#define RECALL_MS		(2 * 1000)
#define PINGS			16
#define ALONE_MS		1000	/* a call for one connection may wait so long */
#define SKEW_MS			5.0
#define STRAGGLER		1.5		/* so many times the median is late */
#define STRAGGLER_US	(100 * 1000)

typedef struct Drivers
{
	int			n;
	Driver	   *drivers;
	Endpoint  **endpoints;
	char	  **born;			/* when the server was started: no other was at that moment */
	const Driver *silent;		/* at the last check it was silent for too long */
	TargetWatch watch;			/* whether it is still there */
	const char *mode;			/* of the pool that their clients share; "": they share none */
	int			pool_size;		/* of that */
} Drivers;

static double
longest_trip_ms(const Drivers *drivers)
{
	uint64		trip_us = 0;

	for (int i = 0; i < drivers->n; i++)
		trip_us = Max(trip_us, drivers->drivers[i].trip_us);
	return trip_us / 1000.0;
}

/* ---------- To prepare them ---------- */

/* Ends the run as invalid, because of what the driver is, or has said. */
pg_noreturn static void
driver_is_unfit(Run *run, const Driver *driver, const char *why)
{
	run_end(run, VERDICT_INVALID, "driver %s %s", driver->name, why);
}

static bool
all_answered(const Drivers *drivers)
{
	for (int i = 0; i < drivers->n; i++)
		if (drivers->drivers[i].state == DRIVER_READY && drivers->drivers[i].asked_us != 0)
			return false;
	return true;
}

/* Waits until all have answered what they were asked.  One that does not is named before those that have lost patience meanwhile. */
static void
await_answers(Run *run)
{
	Drivers    *drivers = run->drivers;

	wait_until(run, all_answered(drivers), run_patience(run, ANSWER_MS));
	for (int i = 0; i < drivers->n; i++)
		if (drivers->drivers[i].asked_us != 0)
			driver_is_unfit(run, &drivers->drivers[i], "does not answer: is it stopped, or the network cut?");
	for (int i = 0; i < drivers->n; i++)
	{
		const Driver *driver = &drivers->drivers[i];

		if (driver->state == DRIVER_LOST)
			driver_is_unfit(run, driver, psprintf("cannot drive: %s", connect_failure_text(&driver->failure)));
		if (driver->answer == NULL || PQntuples(driver->answer) == 0)
			driver_is_unfit(run, driver, "has no answer for its coordinator: is there another extension of that name?");
	}
}

static void
log_in(Run *run, Driver *driver, Endpoint *endpoint)
{
	ConnectResult result;

	login_add(&endpoint->login, "application_name", psprintf("%s coordinator", RUN_APPLICATION_NAME));
	result = foreign_login_try(run, endpoint, driver->name);
	if (strcmp(result.sqlstate, PASSWORD_NOT_ASKED) == 0)
		run_end(run, VERDICT_INVALID, "%s", foreign_login_unasked("driver ", driver->name));
	if (result.end == CONNECT_GRANTED)
	{
		driver_open(driver, &run->loop, &endpoint->login, run_patience(run, ANSWER_MS));
		wait_until(run, driver->state != DRIVER_CONNECTING, run_patience(run, ANSWER_MS));
		if (driver->state == DRIVER_READY)
			return;
		if (driver->state == DRIVER_CONNECTING)
			driver_give_up(driver);
		result = driver->failure;
	}
	run_end(run, VERDICT_INVALID, "could not log in to driver %s: %s", driver->name, connect_failure_text(&result));
}

static const char hello[] =
	"SELECT e.extversion AS version, pg_catalog.pg_is_in_recovery() AS standby,"
	" extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS born, pg_catalog.quote_ident(n.nspname) AS schema,"
	" (SELECT pg_catalog.string_agg(p.oid::pg_catalog.regprocedure::text, ', ') FROM pg_catalog.pg_proc p"
	"  WHERE p.pronamespace = n.oid AND p.proname LIKE 'pool\\_exhaust\\_drive%'"
	"  AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) AS missing, session_user AS role,"
	" pg_catalog.current_database() AS database"
	" FROM (SELECT 1) AS o LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'pool_exhaust'"
	" LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace";

/* What the driver is: the same version, a primary, and a server of its own. */
static void
require_fit(Run *run, int n)
{
	Drivers    *drivers = run->drivers;
	Driver	   *driver = &drivers->drivers[n];
	const PGresult *answer = driver->answer;
	const char *version = answer_value(answer, 0, "version");
	const Probe *probe = run->parties[0].probe;

	drivers->born[n] = pstrdup(answer_value(answer, 0, "born"));
	if (version[0] == '\0')
		driver_is_unfit(run, driver, psprintf("has no extension pool_exhaust in database %s: CREATE EXTENSION pool_exhaust there",
											  answer_value(answer, 0, "database")));
	if (strcmp(version, EXTVERSION) != 0)
		driver_is_unfit(run, driver, psprintf("has version %s of extension pool_exhaust, and this server %s: install the same library there, and run ALTER EXTENSION pool_exhaust UPDATE",
											  version, EXTVERSION));
	if (answer_value(answer, 0, "standby")[0] == 't')
		driver_is_unfit(run, driver, "is a standby: name its primary, or another server");
	if (answer_value(answer, 0, "missing")[0] != '\0')
		driver_is_unfit(run, driver, psprintf("does not let role %s drive: GRANT EXECUTE ON FUNCTION %s TO it there",
											  answer_value(answer, 0, "role"), answer_value(answer, 0, "missing")));
	if (probe != NULL && strcmp(drivers->born[n], probe->figures.born) == 0)
		driver_is_unfit(run, driver, psprintf("is the target itself, %s: name another server, whose load does not compete with what it measures",
											  run->request.target_name));
	for (int i = 0; i < n; i++)
		if (strcmp(drivers->born[i], drivers->born[n]) == 0)
			driver_is_unfit(run, driver, psprintf("is the same server as driver %s: name each once", drivers->drivers[i].name));
	driver->function = psprintf("%s.pool_exhaust_drive", answer_value(answer, 0, "schema"));
}

/* The name by which the driver knows the target. */
static const char *
target_name_there(const Run *run, const Endpoint *endpoint)
{
	return endpoint->target != NULL ? endpoint->target : run->request.target_name;
}

/* It logs in to a server of the same kind, as the same user: so the target can count all sessions of the run. */
static void
require_same_target(Run *run, int n)
{
	const Drivers *drivers = run->drivers;
	const Driver *driver = &drivers->drivers[n];
	const char *kind = answer_value(driver->answer, 0, "kind");
	const char *role = answer_value(driver->answer, 0, "role");
	const char *ours = login_value(run->parties[0].login, "user");
	const char *name = target_name_there(run, drivers->endpoints[n]);

	if (strcmp(kind, run->target->name) != 0)
		driver_is_unfit(run, driver, psprintf("has foreign server %s of kind %s, and here it is of kind %s", name, kind, run->target->name));
	if (strcmp(role, ours != NULL ? ours : "") != 0)
		driver_is_unfit(run, driver, psprintf("logs in to %s as user \"%s\", and this server as \"%s\": name the same user in both user mappings, so that the target counts them together",
											  name, role, ours != NULL ? ours : ""));
}

static void
prepare(Run *run, const RunParty *party)
{
	Drivers    *drivers = run->drivers;
	int			handshakes = (int) Max(run->options.handshakes / drivers->n, 1);
	int			pool_size = Max(drivers->pool_size / drivers->n, 1);

	for (int i = 0; i < drivers->n; i++)
		driver_ask(&drivers->drivers[i], hello);
	await_answers(run);
	for (int i = 0; i < drivers->n; i++)
		require_fit(run, i);
	for (int i = 0; i < drivers->n; i++)
	{
		Driver	   *driver = &drivers->drivers[i];

		driver->most = foreign_share(run->scenario, &run->options, server_pool_foreign_sessions(run, party));
		driver_ask(driver, psprintf("SELECT * FROM %s_open(%s, %s, %d, %d, %d, %s, %d)", driver->function,
									quote_literal_cstr(target_name_there(run, drivers->endpoints[i])),
									quote_literal_cstr(login_value(party->login, "application_name")),
									driver->most, handshakes, server_pool_login_ms(run), quote_literal_cstr(drivers->mode), pool_size));
	}
	await_answers(run);
	for (int i = 0; i < drivers->n; i++)
		require_same_target(run, i);
}

/* ---------- What they say before they are a pool ---------- */

static void
call(Driver *driver, int acquire, int release)
{
	driver_ask(driver, psprintf("SELECT * FROM %s(%d, %d, false, 0, %d)", driver->function, acquire, release, ALONE_MS));
}

static void
read_answer(Run *run, Driver *driver)
{
	if (!drive_report_read(&driver->report, driver->answer))
		driver_is_unfit(run, driver, "does not say what pool_exhaust_drive() says: is there another extension of that name?");
}

/* Has all of them do the same, and reads their answers. */
static void
call_all(Run *run, int acquire, int release)
{
	Drivers    *drivers = run->drivers;

	for (int i = 0; i < drivers->n; i++)
		call(&drivers->drivers[i], acquire, release);
	await_answers(run);
	for (int i = 0; i < drivers->n; i++)
		read_answer(run, &drivers->drivers[i]);
}

/* Its clock was read half-way, of all pings by the one that took the least. */
static void
ping_read(Driver *driver, bool first)
{
	uint64		trip_us = driver->answered_us - driver->sent_us;

	if (!first && trip_us >= driver->trip_us)
		return;
	driver->trip_us = trip_us;
	driver->offset_us = (int64) driver->report.clock_us - (int64) (driver->sent_us + trip_us / 2);
}

static void
measure_clocks(Run *run)
{
	Drivers    *drivers = run->drivers;

	for (int i = 0; i < PINGS; i++)
	{
		call_all(run, 0, 0);
		for (int j = 0; j < drivers->n; j++)
			ping_read(&drivers->drivers[j], i == 0);
	}
}

/* Does the probe, of that moment or later, show so many sessions of the run?  If not it is asked anew. */
static bool
probe_shows(Probe *probe, int n, uint64 *since_us)
{
	if (!probe_refresh(probe, *since_us))
		return false;
	*since_us = loop_now_us();
	return probe->figures.ours == n;
}

/* The target shows so many sessions of the run, by its own count, sooner or later. */
static bool
target_shows(Run *run, int n)
{
	Probe	   *probe = run->parties[0].probe;
	uint64		since_us = loop_now_us();
	bool		shows = false;

	poll_until(run, (shows = probe_shows(probe, n, &since_us)) || probe->state == PROBE_LOST, run_patience(run, SHOWN_MS));
	return shows;
}

/* One driver opens a connection, which the target must show by its own count beside those that it has, and lets go of it. */
static void
prove_target_of(Run *run, Driver *driver, const char *name)
{
	const Probe *probe = run->parties[0].probe;
	int			before = probe->figures.ours;
	const DriveReport *report = &driver->report;

	call(driver, 1, 0);
	await_answers(run);
	read_answer(run, driver);
	if (report->held != 1)
		driver_is_unfit(run, driver,
						psprintf("could not open a connection to %s: %s", name,
								 report->refused > 0 ? connect_failure_text(&report->last_refusal)
								 : report->wanted > 0 ? "none came free in time" : connect_failure_text(&report->last_failure)));
	if (!target_shows(run, before + 1) && probe->state == PROBE_LOST)
		run_end(run, VERDICT_INVALID, "%s does not report its state any more, see its log: %s", run->request.target_name,
				connect_failure_text(&probe->failure));
	if (probe->figures.ours != before + 1)
		driver_is_unfit(run, driver,
						psprintf("connects to another server than %s here: check host, port and dbname of foreign server %s there",
								 run->request.target_name, name));
	call(driver, 0, 1);
	await_answers(run);
	read_answer(run, driver);
	/* Clients of a pooler may stay logged in. */
	if (report->open == 0)
		(void) target_shows(run, before);
}

/* All of them lead to the target of the run. */
static void
prove_target(Run *run)
{
	const Drivers *drivers = run->drivers;

	for (int i = 0; i < drivers->n; i++)
		prove_target_of(run, &drivers->drivers[i], target_name_there(run, drivers->endpoints[i]));
}

/*
 * Prepares the drivers of option "drivers", and returns the pool that they are.  Ends the
 * run as invalid, with the name of the driver, if one is not fit for it.
 */
Pool *
drivers_open(Run *run, RunParty *party)
{
	const NameList *names = &run->options.drivers;
	Drivers    *drivers = palloc0(sizeof(Drivers));
	DriversPoolConfig config = {
		.kind = run->target->pool_type,
		.loop = &run->loop,
		.probe = party->probe,
		.capacity = party->endpoint->capacity,
		.n = (int) names->n,
	};

	phase(run, "prepare");
	drivers->drivers = palloc_extended(sizeof(Driver) * names->n, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	drivers->endpoints = palloc0(sizeof(Endpoint *) * names->n);
	drivers->born = palloc0(sizeof(char *) * names->n);
	drivers->mode = run->target->shared != NULL ? run->target->shared(run, party, &drivers->pool_size) : "";
	config.shared = drivers->mode[0] != '\0';
	run->drivers = drivers;
	for (int i = 0; i < names->n; i++)
	{
		drivers->drivers[i].name = text_printable(names->name[i]);
		drivers->endpoints[i] = foreign_read_other(run, names->name[i], TARGET_DRIVER);
		drivers->n++;			/* the clean-up closes it, whatever becomes of the login */
		log_in(run, &drivers->drivers[i], drivers->endpoints[i]);
	}
	prepare(run, party);
	measure_clocks(run);
	if (party->probe != NULL)
		prove_target(run);
	config.drivers = drivers->drivers;
	target_watch_open(&drivers->watch, party->login);
	phase_end(run);
	phase_note(run, "%d driver%s, the longest round trip %.1f ms", drivers->n, drivers->n == 1 ? "" : "s", longest_trip_ms(drivers));
	return pool_open_drivers(&config);
}

/* ---------- While they drive ---------- */

/*
 * Returns why the run must end: a driver is lost, or silent for too long, or the target is
 * gone; palloc'd.  NULL if all are there.  A process that was late itself has their answers unread, so it checks
 * a second time.
 */
char *
drivers_why_lost(Run *run)
{
	Drivers    *drivers = run->drivers;
	const Driver *silent = NULL;
	uint64		now_us = loop_now_us();
	char	   *why;

	if (drivers == NULL || run->pool == NULL)
		return NULL;
	for (int i = 0; i < drivers->n; i++)
	{
		Driver	   *driver = &drivers->drivers[i];

		if (driver->state == DRIVER_LOST)
			return psprintf("driver %s was lost: %s", driver->name, connect_failure_text(&driver->failure));
		if (driver->asked_us == 0 || now_us - driver->asked_us < (uint64) DRIVER_SILENCE_MS * 1000)
			continue;
		if (drivers->silent == driver)
		{
			driver_give_up(driver);
			return psprintf("driver %s was lost: it is silent for %.1f s", driver->name, (now_us - driver->sent_us) / 1e6);
		}
		silent = driver;
	}
	drivers->silent = silent;
	why = target_why_gone(&drivers->watch, run, drivers->drivers, drivers->n);
	run->target_gone |= why != NULL;
	return why;
}

/* ---------- What becomes of them ---------- */

static int
compare_uint64(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return (x > y) - (x < y);
}

/* Returns the driver that was at work the longest, and in "median_us" how long the one in the middle was. */
static const Driver *
slowest_of(const Drivers *drivers, uint64 *median_us)
{
	uint64		times[NAME_LIST_MAX];
	const Driver *slowest = &drivers->drivers[0];

	for (int i = 0; i < drivers->n; i++)
	{
		times[i] = drivers->drivers[i].wanted_us;
		if (times[i] > slowest->wanted_us)
			slowest = &drivers->drivers[i];
	}
	qsort(times, drivers->n, sizeof(uint64), compare_uint64);
	*median_us = times[(drivers->n - 1) / 2];
	return slowest;
}

/* ", straggler n3: 1.31 s of work, 2.1 times the median"; palloc'd, empty if there is none. */
static char *
straggler_text(const Drivers *drivers)
{
	uint64		median_us;
	const Driver *slowest = slowest_of(drivers, &median_us);

	if (drivers->n < 2 || slowest->wanted_us < median_us * STRAGGLER || slowest->wanted_us < median_us + STRAGGLER_US)
		return pstrdup("");
	return psprintf("   straggler %s: %.2f s of work, %.1f times the median", slowest->name, slowest->wanted_us / 1e6,
					slowest->wanted_us / Max(median_us, 1.0));
}

/* Have all of them begun at the moment that was set? */
static bool
all_have_begun(const Drivers *drivers)
{
	for (int i = 0; i < drivers->n; i++)
		if (drivers->drivers[i].began_us == 0)
			return false;
	return drivers->n > 1;
}

/* Returns when the first one began, by the clock of this process. */
static int64
first_began_us(const Drivers *drivers)
{
	int64		first_us = PG_INT64_MAX;

	for (int i = 0; i < drivers->n; i++)
		first_us = Min(first_us, drivers->drivers[i].began_us);
	return first_us;
}

static double
skew_ms(const Drivers *drivers, const Driver *driver)
{
	return (driver->began_us - first_began_us(drivers)) / 1000.0;
}

/* A line of the report for one of them, with its figures. */
static void
report_driver(Run *run, const Drivers *drivers, const Driver *driver)
{
	Phase	   *p = phase(run, driver->name);
	const char *waits;

	phase_end(run);
	p->granted = driver->granted;
	p->refused = driver->refused;
	p->latency = driver->waits;
	waits = phase_latency(run, "grant", &driver->waits);
	phase_figure(run, "round_trip_ms", driver->trip_us / 1000.0);
	phase_figure(run, "clock_offset_ms", driver->offset_us / 1000.0);
	phase_figure(run, "work_ms", driver->wanted_us / 1000.0);
	if (all_have_begun(drivers))
		phase_figure(run, "start_skew_ms", skew_ms(drivers, driver));
	phase_note(run, UINT64_FORMAT " granted, " UINT64_FORMAT " refused   %s%s%s", driver->granted, driver->refused, waits,
			   all_have_begun(drivers) ? psprintf("   began %.1f ms after the first", skew_ms(drivers, driver)) : "",
			   driver->state == DRIVER_LOST ? "   lost" : "");
}

/* They began at one moment: what is claimed of a common load would not hold otherwise. */
static void
check_skew(Run *run, const Drivers *drivers)
{
	double		limit_ms = Max(SKEW_MS, longest_trip_ms(drivers));
	double		latest_ms = 0;

	for (int i = 0; i < drivers->n; i++)
		latest_ms = Max(latest_ms, skew_ms(drivers, &drivers->drivers[i]));
	check_at_most(run, "start skew of the drivers", limit_ms, latest_ms, "ms",
				  "the drivers did not begin together: one was busy, or its clock could not be read well enough over that network; see round_trip_ms of each in the summary");
	check_was_of_delay(run, (uint64) (limit_ms * 1000));
}

static void
report_total(Run *run, const Drivers *drivers)
{
	const PoolStats *stats = &run->pool->stats;
	uint64		ended_otherwise = stats->granted + stats->timed_out + stats->failed + stats->canceled + stats->wanted;

	phase(run, "drivers");
	phase_end(run);
	phase_note(run, UINT64_FORMAT " granted, " UINT64_FORMAT " refused by %d driver%s   %s%s", stats->granted, stats->refused, drivers->n,
			   drivers->n == 1 ? "" : "s", phase_latency(run, "grant", &run->pool->waits), straggler_text(drivers));
	check_count(run, "granted by all drivers", stats->granted, run->pool->waits.count,
				"the waits of the drivers are not as many as their grants: a report was lost, or counted twice");
	check_count(run, "refused by all drivers", stats->refused, run->pool->asked - ended_otherwise,
				"the drivers were asked for more or fewer than ended: a report was lost, or counted twice");
}

/* A line for each driver, and the total. */
void
drivers_report(Run *run)
{
	const Drivers *drivers = run->drivers;

	if (drivers == NULL || run->pool == NULL)
		return;
	for (int i = 0; i < drivers->n && run->nphases < PHASES_MAX - 3; i++)
		report_driver(run, drivers, &drivers->drivers[i]);
	report_total(run, drivers);
	if (all_have_begun(drivers))
		check_skew(run, drivers);
}

/* Where the coordinator has given up a driver that is there, its connections are, too, until the target ends them. */
static bool
one_was_lost(const Drivers *drivers)
{
	for (int i = 0; i < drivers->n; i++)
		if (drivers->drivers[i].state == DRIVER_LOST)
			return true;
	return false;
}

/*
 * Logs out of all drivers, so that they let go, and has the target end the sessions of
 * those that are lost, where it can: a driver that is stopped lets go of nothing.
 */
void
drivers_recall(Run *run)
{
	Drivers    *drivers = run->drivers;
	const Endpoint *endpoint = run->parties[0].endpoint;
	uint64		end_us = loop_now_us() + RECALL_MS * 1000;
	Probe	   *probe;

	if (drivers == NULL)
		return;
	target_watch_close(&drivers->watch);
	for (int i = 0; i < drivers->n; i++)
		driver_close(&drivers->drivers[i]);
	if (run->parties[0].probe == NULL || run->target->recall == NULL || !one_was_lost(drivers))
		return;
	probe = palloc0(sizeof(Probe));
	probe->questions = run->target->recall;
	probe_open(probe, &run->loop, &endpoint->console, RECALL_MS);
	while (!probe_refresh(probe, 1) && probe->state != PROBE_LOST && loop_now_us() < end_us)
		loop_turn(&run->loop, POLL_TURN_MS);
	probe_close(probe);
}

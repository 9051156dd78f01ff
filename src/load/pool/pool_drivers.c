/*
 * pool_drivers.c
 *		A pool whose connections are held by drivers, on other machines.
 *
 * It has no session of its own: what is asked of it is shared out, and its figures are
 * the sums of what the drivers have said.  Counters and histograms add up bit for bit,
 * as if one process had done it all; they are as old as the last report.
 */
#include "postgres.h"

#include "load/driver.h"
#include "load/pool/pool_drivers.h"

/* So much later than it is ordered the drivers begin together, beside two round trips. */
#define LEAD_US		(20 * 1000)

typedef struct DriversPool
{
	Pool		pool;			/* must be first */
	PoolDriver	kind;			/* that of the target, with the methods of this one */
	DriversPoolConfig config;
	int			turn;			/* the driver that comes first where two have the same load */
	uint64		go_us;			/* when they were to begin together; 0 = not yet */
} DriversPool;

#define COUNTER_FIELD(name) {offsetof(PoolStats, name), offsetof(DriveReport, name)},

/* The counters, in the pool and in a report. */
static const struct
{
	size_t		sum;
	size_t		part;
}			counters[] = {DRIVE_COUNTERS(COUNTER_FIELD)};

static uint64
counter_of(const DriveReport *report, int i)
{
	return *(const uint64 *) ((const char *) report + counters[i].part);
}

/* ---------- To share it out ---------- */

/* Connections that it has, or will have. */
static int
driver_load(const Driver *driver)
{
	return driver->held + driver->wanted;
}

/* Returns the driver with the least to do that may have one more; NULL: none may. */
static Driver *
least_loaded(DriversPool *dp)
{
	Driver	   *least = NULL;

	for (int i = 0; i < dp->config.n; i++)
	{
		Driver	   *driver = &dp->config.drivers[(dp->turn + i) % dp->config.n];

		if (driver->state == DRIVER_READY && driver_load(driver) < driver->most &&
			(least == NULL || driver_load(driver) < driver_load(least)))
			least = driver;
	}
	if (least != NULL)
		dp->turn = (int) (least - dp->config.drivers + 1) % dp->config.n;
	return least;
}

/* Returns the driver that holds the most; NULL: none holds any. */
static Driver *
most_held(DriversPool *dp)
{
	Driver	   *most = NULL;

	for (int i = 0; i < dp->config.n; i++)
	{
		Driver	   *driver = &dp->config.drivers[i];

		if (driver->state == DRIVER_READY && driver->held > (most == NULL ? 0 : most->held))
			most = driver;
	}
	return most;
}

static void
send_all(DriversPool *dp)
{
	for (int i = 0; i < dp->config.n; i++)
	{
		const DriverOrder *order = &dp->config.drivers[i].order;

		if (order->cancel || order->release > 0 || order->acquire > 0)
			driver_send(&dp->config.drivers[i]);
	}
}

/* So many of its acquires are not over yet.  Each may be a login: where they are on their way is not known. */
static void
set_wanted(DriversPool *dp, Driver *driver, int wanted)
{
	dp->pool.stats.wanted += wanted - driver->wanted;
	dp->pool.stats.opening += wanted - driver->wanted;
	driver->wanted = wanted;
}

/* The first time that each driver gets a share they all begin at one moment. */
static void
set_begin(DriversPool *dp)
{
	uint64		trip_us = 0;

	for (int i = 0; i < dp->config.n; i++)
	{
		if (dp->config.drivers[i].order.acquire == 0)
			return;
		trip_us = Max(trip_us, dp->config.drivers[i].trip_us);
	}
	dp->go_us = loop_now_us() + LEAD_US + 2 * trip_us;
	for (int i = 0; i < dp->config.n; i++)
		dp->config.drivers[i].order.at_us = dp->go_us + dp->config.drivers[i].offset_us;
}

/* PoolDriver.acquire_many() */
static void
drivers_acquire(Pool *pool, int n)
{
	DriversPool *dp = (DriversPool *) pool;
	Driver	   *driver;

	if (pool->draining)
		return;
	pool->canceled = false;
	for (; n > 0 && (driver = least_loaded(dp)) != NULL; n--)
	{
		driver->order.acquire++;
		set_wanted(dp, driver, driver->wanted + 1);
	}
	if (dp->go_us == 0)
		set_begin(dp);
	send_all(dp);
}

/* PoolDriver.release_many().  What is to be released is held no longer. */
static void
drivers_release(Pool *pool, int n)
{
	DriversPool *dp = (DriversPool *) pool;
	Driver	   *driver;

	for (; n > 0 && (driver = most_held(dp)) != NULL; n--)
	{
		driver->order.release++;
		driver->held--;
		pool->stats.held--;
	}
	send_all(dp);
}

/* What the driver was to do will not be done: it is lost, or logs out.  What no report has counted as asked is not canceled either. */
static void
cancel_share(DriversPool *dp, Driver *driver)
{
	dp->pool.stats.canceled += driver->report.wanted;
	driver->report.wanted = 0;
	set_wanted(dp, driver, 0);
}

/* PoolDriver.cancel(): what was not sent yet is forgotten, the rest is canceled by the drivers. */
static void
drivers_cancel(Pool *pool)
{
	DriversPool *dp = (DriversPool *) pool;

	for (int i = 0; i < dp->config.n; i++)
	{
		Driver	   *driver = &dp->config.drivers[i];

		set_wanted(dp, driver, driver->wanted - driver->order.acquire);
		driver->order.acquire = 0;
		driver->order.cancel = driver->wanted > 0;
		if (driver->state == DRIVER_LOST)
			cancel_share(dp, driver);
	}
	send_all(dp);
}

/* PoolDriver.close() */
static void
drivers_close(Pool *pool)
{
	DriversPool *dp = (DriversPool *) pool;

	for (int i = 0; i < dp->config.n; i++)
	{
		Driver	   *driver = &dp->config.drivers[i];

		cancel_share(dp, driver);
		driver_close(driver);
	}
	pool->stats.opening = 0;
}

/* ---------- To add it up ---------- */

/* The last of the pool is that of the last driver that has had one since its report before. */
static void
keep_failures(Pool *pool, const DriveReport *report, const DriveReport *before)
{
	if (report->refused > before->refused)
		pool->last_refusal = report->last_refusal;
	if (report->failed > before->failed)
	{
		pool->last_failure = report->last_failure;
		pool->failed_us = loop_now_us();
	}
	if (report->lost > before->lost)
	{
		pool->last_loss = report->last_loss;
		pool->lost_us = loop_now_us();
	}
}

static void
add_waits(Pool *pool, Driver *driver)
{
	const Histogram *waits = &driver->report.waits;

	histogram_merge(&driver->waits, waits);
	histogram_merge(&pool->waits, waits);
	if (pool->latency != NULL)
		histogram_merge(pool->latency, waits);
}

/* Adds what a report has more than the one before. */
static void
add_counters(DriversPool *dp, Driver *driver, const DriveReport *before)
{
	PoolStats  *stats = &dp->pool.stats;
	const DriveReport *report = &driver->report;

	for (int i = 0; i < lengthof(counters); i++)
		*(uint64 *) ((char *) stats + counters[i].sum) += counter_of(report, i) - counter_of(before, i);
	for (int i = 0; i < CAUSES; i++)
		stats->refused_by[i] += report->refused_by[i] - before->refused_by[i];
	dp->pool.asked += report->asked - before->asked;
	driver->granted += report->granted - before->granted;
	driver->refused += report->refused - before->refused;
	stats->slowest_refusal_us = Max(stats->slowest_refusal_us, report->slowest_refusal_us);
}

/* What it is to release by an order that was not sent yet is held no longer, what it is to acquire is wanted. */
static void
add_state(DriversPool *dp, Driver *driver)
{
	PoolStats  *stats = &dp->pool.stats;
	int			held = Max((int) driver->report.held - driver->order.release, 0);

	stats->held += held - driver->held;
	stats->peak_held = Max(stats->peak_held, stats->held);
	driver->held = held;
	set_wanted(dp, driver, (int) driver->report.wanted + driver->order.acquire);
}

/* DriverEvents.heard().  A report is kept by the driver until the next one, so what it had before is kept here. */
static void
drivers_heard(Driver *driver)
{
	DriversPool *dp = driver->owner;
	DriveReport *before = &dp->config.before[driver - dp->config.drivers];

	add_counters(dp, driver, before);
	keep_failures(&dp->pool, &driver->report, before);
	add_waits(&dp->pool, driver);
	add_state(dp, driver);
	*before = driver->report;
}

/* DriverEvents.lost().  The run ends by that; until then it has what the driver had, and waits for what it wanted. */
static void
drivers_lost(Driver *driver)
{
	DriversPool *dp = driver->owner;

	dp->pool.last_loss = driver->failure;
}

static const DriverEvents drivers_events = {
	.heard = drivers_heard,
	.lost = drivers_lost,
};

/* ---------- The pool ---------- */

/* PoolDriver.read_state() */
static void
drivers_read_state(Pool *pool, PoolState *truth)
{
	const DriversPoolConfig *config = &((DriversPool *) pool)->config;

	pool_foreign_state(pool, config->probe, config->capacity, truth);
}

/* PoolDriver.refresh() */
static bool
drivers_refresh(Pool *pool, uint64 since_us)
{
	Probe	   *probe = ((DriversPool *) pool)->config.probe;

	return probe == NULL || probe_refresh(probe, since_us);
}

/* PoolDriver.serve(): there is no request here. */
static void
drivers_serve(Pool *pool)
{
}

/*
 * Makes a pool of drivers that are ready, and begins their drives.  It lives in the
 * current memory context, which must outlive the loop.
 */
Pool *
pool_open_drivers(const DriversPoolConfig *config)
{
	DriversPool *dp = palloc0(sizeof(DriversPool));
	PoolLogins	logins = {config->loop, NULL};

	dp->config = *config;
	dp->config.before = palloc_extended(sizeof(DriveReport) * config->n, MCXT_ALLOC_HUGE);
	dp->kind = (PoolDriver) {
		.kind = config->kind->kind,
		.read_state = drivers_read_state,
		.refresh = drivers_refresh,
		.serve = drivers_serve,
		.cancel = drivers_cancel,
		.acquire_many = drivers_acquire,
		.release_many = drivers_release,
		.close = drivers_close,
	};
	pool_init(&dp->pool, &dp->kind, &logins, 0);
	for (int i = 0; i < config->n; i++)
	{
		/* What it has done to show that it can is not the load's. */
		dp->config.before[i] = config->drivers[i].report;
		driver_begin(&config->drivers[i], &drivers_events, dp);
	}
	return &dp->pool;
}

/* Returns when the drivers of the pool were to begin together, by the clock of this process; 0 = they were not. */
uint64
pool_drivers_go_us(const Pool *pool)
{
	return ((const DriversPool *) pool)->go_us;
}

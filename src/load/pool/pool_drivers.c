/*
 * pool_drivers.c
 *		A pool whose connections are held by drivers, on other machines.
 *
 * It has no session of its own: what is asked of it is shared out, also the clients of a
 * load, and its figures are the sums of what the drivers have said.  Counters and
 * histograms add up bit for bit, as if one process had done it all; they are as old as
 * the last report.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "load/drive_crowd.h"
#include "load/drive_load.h"
#include "load/driver.h"
#include "load/pool/pool_drivers.h"

/* So much later than it is ordered the drivers begin together, beside two round trips. */
#define LEAD_US		(20 * 1000)

/* Requests of one driver that wait are no more. */
#define WANTED_MAX	1000000

typedef struct DriversPool
{
	Pool		pool;			/* must be first */
	PoolType	kind;			/* that of the target, with the methods of this one */
	DriversPoolConfig config;
	int			turn;			/* the driver that comes first where two have the same load */
	uint64		go_us;			/* when they were to begin together; 0 = not yet */
	Load	   *loads[DRIVE_LOADS_MAX]; /* that are not over, by their numbers */
	DriveLoad  *said[DRIVE_LOADS_MAX];	/* how each is on each driver */
	uint64	   *said_us;		/* when each driver said so */
	Crowd	   *crowd;			/* that is shared out; NULL: none */
	DriveCrowd *shares;			/* how that is on each driver */
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

static uint64
longest_trip_us(const DriversPool *dp)
{
	uint64		trip_us = 0;

	for (int i = 0; i < dp->config.n; i++)
		trip_us = Max(trip_us, dp->config.drivers[i].trip_us);
	return trip_us;
}

/* Returns a moment that each driver hears of before it comes, also one that has a call under way. */
static uint64
next_go_us(const DriversPool *dp)
{
	uint64		lead_us = LEAD_US + 2 * longest_trip_us(dp);

	for (int i = 0; i < dp->config.n; i++)
		if (dp->config.drivers[i].plays)
			return loop_now_us() + lead_us + DRIVER_CALL_MS * 1000;
	return loop_now_us() + lead_us;
}

/* The first time that each driver gets a share they all begin at one moment. */
static void
set_begin(DriversPool *dp)
{
	for (int i = 0; i < dp->config.n; i++)
		if (dp->config.drivers[i].order.acquire == 0)
			return;
	dp->go_us = next_go_us(dp);
	for (int i = 0; i < dp->config.n; i++)
		dp->config.drivers[i].order.at_us = dp->go_us + dp->config.drivers[i].offset_us;
}

/* PoolType.acquire_many() */
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

/* PoolType.release_many().  What is to be released is held no longer. */
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

/* PoolType.cancel(): what was not sent yet is forgotten, the rest is canceled by the drivers. */
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

/* PoolType.close() */
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

/* ---------- Loads ---------- */

/* The i-th of n shares of so many. */
static int
share(int whole, int n, int i)
{
	return whole / n + (i < whole % n ? 1 : 0);
}

/*
 * Returns what the i-th driver is sent of its share, palloc'd: so many clients, or so
 * seldom; of those that come at regular gaps each driver has every n-th.
 */
static char *
load_sql(const DriversPool *dp, const Load *load, int number, int i, uint64 go_us)
{
	LoadConfig	config = load->config;
	Arrival		arrival = config.arrival != NULL ? *config.arrival : (Arrival) {0};
	const Driver *driver = &dp->config.drivers[i];
	int			n = dp->config.n;

	config.clients = share(config.clients, n, i);
	config.seed += i;
	arrival.early = arrival.kind == ARRIVAL_CONSTANT ? 1 - (i + 1.0) / n : 0;
	arrival.rate /= n;
	arrival.burst_rate /= n;
	return psprintf("SELECT * FROM %s_load(%d, %s, %s, '%s', %s, " UINT64_FORMAT ", %d)", driver->function, number,
					quote_literal_cstr(config.sql != NULL ? config.sql : ""),
					quote_literal_cstr(config.failing_sql != NULL ? config.failing_sql : ""),
					drive_load_figures(&config, &arrival), config.order != &load->order ? "true" : "false",
					go_us + driver->offset_us, DRIVER_CALL_MS);
}

/* Has the i-th driver a share of that load? */
static bool
has_share(const DriversPool *dp, const Load *load, int i)
{
	return load->config.arrival != NULL || share(load->config.clients, dp->config.n, i) > 0;
}

/* Its figures are of the moments of the reports of those with a share, on average. */
static uint64
counted_us(const DriversPool *dp, const Load *load)
{
	uint64		sum_us = 0;
	int			n = 0;

	for (int i = 0; i < dp->config.n; i++)
	{
		if (!has_share(dp, load, i))
			continue;
		sum_us += dp->said_us[i];
		n++;
	}
	return sum_us / Max(n, 1);
}

/* Adds up how the load is on all drivers. */
static void
load_add_up(DriversPool *dp, int number)
{
	Load	   *load = dp->loads[number];
	DriveLoad	sum = {0};

	for (int i = 0; i < dp->config.n; i++)
	{
		const DriveLoad *said = &dp->said[number][i];

		sum.coming |= said->coming;
		sum.busy += said->busy;
		sum.asking += said->asking;
		sum.holding += said->holding;
		sum.peak_holding += said->peak_holding;
		sum.ended += said->ended;
		sum.over_limit += said->over_limit;
	}
	load->coming = sum.coming != 0;
	load->busy = (int) sum.busy;
	load->asking = (int) sum.asking;
	load->holding = (int) sum.holding;
	load->peak_holding = (int) sum.peak_holding;
	load->ended = (int) Min(sum.ended, PG_INT32_MAX);
	load->over_limit = (uint64) sum.over_limit;
	load->counted_us = counted_us(dp, load);
	if (load_is_over(load))
		dp->loads[number] = NULL;
}

/* Are clients of a load there, or to come, or may those of a crowd retry? */
static bool
driver_plays(const DriversPool *dp, int i)
{
	if (dp->crowd != NULL && !dp->shares[i].stopped)
		return true;
	for (int number = 0; number < DRIVE_LOADS_MAX; number++)
		if (dp->loads[number] != NULL && (dp->said[number][i].busy > 0 || dp->said[number][i].coming))
			return true;
	return false;
}

/* Returns a number that no load has; ERROR if all are taken. */
static int
free_number(DriversPool *dp)
{
	for (int number = 0; number < DRIVE_LOADS_MAX; number++)
	{
		if (dp->loads[number] != NULL)
			continue;
		if (dp->said[number] == NULL)
			dp->said[number] = palloc(sizeof(DriveLoad) * dp->config.n);
		return number;
	}
	elog(ERROR, "drivers play more than %d loads at once", DRIVE_LOADS_MAX);
}

/* PoolType.load_begin(): they begin at one moment; until a driver has said how it is, its share is to come. */
static void
drivers_load_begin(Pool *pool, Load *load)
{
	DriversPool *dp = (DriversPool *) pool;
	int			number = free_number(dp);
	uint64		go_us = next_go_us(dp);

	if (dp->go_us == 0 && has_share(dp, load, dp->config.n - 1))
		dp->go_us = go_us;
	dp->loads[number] = load;
	load->begun_us = go_us;
	if (load->config.order != &load->order)
		order_reserve(load->config.order, load->config.clients * load->config.operations);
	for (int i = 0; i < dp->config.n; i++)
	{
		Driver	   *driver = &dp->config.drivers[i];

		dp->said[number][i] = (DriveLoad) {.coming = has_share(dp, load, i)};
		if (!has_share(dp, load, i))
			continue;
		driver_queue(driver, load_sql(dp, load, number, i, go_us));
		driver->plays = true;
	}
	load_add_up(dp, number);
}

/* PoolType.load_stop() */
static void
drivers_load_stop(Pool *pool, Load *load)
{
	DriversPool *dp = (DriversPool *) pool;

	for (int number = 0; number < DRIVE_LOADS_MAX; number++)
		for (int i = 0; i < dp->config.n && dp->loads[number] == load; i++)
			if (dp->said[number][i].coming || dp->said[number][i].busy > 0)
				driver_queue(&dp->config.drivers[i], psprintf("SELECT * FROM %s_stop(%d)", dp->config.drivers[i].function, number));
}

/* What the driver says of its loads.  Of one that it has not begun yet it says nothing. */
static void
add_loads(DriversPool *dp, Driver *driver)
{
	int			i = (int) (driver - dp->config.drivers);

	dp->said_us[i] = (uint64) ((int64) driver->report.clock_us - driver->offset_us);
	for (int number = 0; number < DRIVE_LOADS_MAX; number++)
	{
		Load	   *load = dp->loads[number];
		DriveLoad	said;

		if (load == NULL)
			continue;
		drive_load_read(driver->rows, number, driver->offset_us, &said, load);
		if (!said.here)
			continue;
		dp->said[number][i] = said;
		if (said.last_us > 0)
			load->last_us = (uint64) said.last_us;
		load_add_up(dp, number);
	}
	driver->plays = driver_plays(dp, i);
}

/* ---------- A crowd ---------- */

static void
order_crowd(DriversPool *dp, int i, const char *action, int n, int64 seed, uint64 at_us)
{
	Driver	   *driver = &dp->config.drivers[i];

	driver_queue(driver, psprintf("SELECT * FROM %s_crowd('%s', %d, " INT64_FORMAT ", " UINT64_FORMAT ", %d)",
								  driver->function, action, n, seed, at_us, DRIVER_CALL_MS));
	driver->plays = true;
}

static void
make_shares(DriversPool *dp, Crowd *crowd)
{
	dp->crowd = crowd;
	dp->shares = palloc0(sizeof(DriveCrowd) * dp->config.n);
}

/* All begin at one moment; until a driver has said how its share is, all of it is unanswered. */
static void
crowd_connects(DriversPool *dp, Crowd *crowd, bool cut)
{
	uint64		go_us = next_go_us(dp);

	if (dp->crowd == NULL)
		make_shares(dp, crowd);
	if (dp->go_us == 0)
		dp->go_us = go_us;
	crowd->begun_us = go_us;
	for (int i = 0; i < dp->config.n; i++)
	{
		int			n = share(crowd->config.n, dp->config.n, i);
		int64		connected = dp->shares[i].connected;

		memset(&dp->shares[i], 0, sizeof(DriveCrowd));
		dp->shares[i].unanswered = n;
		dp->shares[i].connected = cut ? 0 : connected;
		dp->config.drivers[i].order.enough = false; /* that was of the wave before */
		order_crowd(dp, i, "connect", n, crowd->config.seed + i, go_us + dp->config.drivers[i].offset_us);
	}
	crowd->connected = 0;
}

/* Of n clients each driver has those that are to go from it, the one with the most first. */
static void
crowd_disconnects(DriversPool *dp, int n)
{
	int		   *left = palloc(sizeof(int) * dp->config.n);
	int		   *go = palloc0(sizeof(int) * dp->config.n);

	for (int i = 0; i < dp->config.n; i++)
		left[i] = (int) dp->shares[i].connected;
	for (; n > 0; n--)
	{
		int			most = 0;

		for (int i = 1; i < dp->config.n; i++)
			if (left[i] > left[most])
				most = i;
		if (left[most] == 0)
			break;
		left[most]--;
		go[most]++;
	}
	for (int i = 0; i < dp->config.n; i++)
		if (go[i] > 0)
			order_crowd(dp, i, "disconnect", go[i], 0, 0);
}

/* PoolType.crowd() */
static void
drivers_crowd(Pool *pool, Crowd *crowd, CrowdOrder order, int n)
{
	DriversPool *dp = (DriversPool *) pool;

	switch (order)
	{
		case CROWD_CONNECT:
			crowd_connects(dp, crowd, n);
			break;
		case CROWD_STOP:
			for (int i = 0; dp->crowd != NULL && i < dp->config.n; i++)
				order_crowd(dp, i, "stop", 0, 0, 0);
			break;
		case CROWD_DISCONNECT:
			crowd_disconnects(dp, n);
			break;
	}
}

/* Adds up how the crowd is on all drivers: windows of time begin at one moment on all of them. */
static void
crowd_add_up(DriversPool *dp)
{
	Crowd	   *crowd = dp->crowd;

	crowd->connected = crowd->cut_off = crowd->unanswered = crowd->refused = 0;
	crowd->stopped = true;
	crowd->attempts = 0;
	memset(crowd->ended, 0, sizeof(crowd->ended));
	memset(crowd->granted_in, 0, sizeof(crowd->granted_in));
	for (int i = 0; i < dp->config.n; i++)
	{
		const DriveCrowd *said = &dp->shares[i];

		crowd->connected += (int) said->connected;
		crowd->cut_off += (int) said->cut_off;
		crowd->unanswered += (int) said->unanswered;
		crowd->refused += (int) said->refused;
		crowd->stopped &= said->stopped != 0;
		crowd->attempts += (uint64) said->attempts;
		crowd->slowest_us = Max(crowd->slowest_us, (uint64) said->slowest_us);
		crowd->granted_us = Max(crowd->granted_us, (uint64) said->granted_us);
		for (int end = 0; end < lengthof(crowd->ended); end++)
			crowd->ended[end] += said->ended[end];
		for (int window = 0; window < CROWD_WINDOWS; window++)
			crowd->granted_in[window] += said->granted_in[window];
	}
}

/* All that fit are connected: the others need not retry. */
static void
crowd_is_in(DriversPool *dp)
{
	Crowd	   *crowd = dp->crowd;

	crowd->in_us = crowd->granted_us;
	for (int i = 0; i < dp->config.n; i++)
	{
		dp->config.drivers[i].order.enough = true;
		driver_send(&dp->config.drivers[i]);
	}
}

/* What the driver says of its share; of a wave that it has not begun yet that is nothing. */
static void
add_crowd(DriversPool *dp, Driver *driver)
{
	int			i = (int) (driver - dp->config.drivers);
	DriveCrowd	said;

	if (dp->crowd == NULL)
		return;
	drive_crowd_read(driver->rows, &said);
	if (said.wave != dp->crowd->wave)
		return;
	if (said.granted_us > 0)
		said.granted_us -= driver->offset_us;
	said.connected = Min(said.connected, share(dp->crowd->config.n, dp->config.n, i));
	dp->shares[i] = said;
	crowd_add_up(dp);
	if (dp->crowd->in_us == 0 && dp->crowd->connected >= dp->crowd->fit)
		crowd_is_in(dp);
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
	if (report->timed_out > before->timed_out)
		pool->timed_out_us = loop_now_us();
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
	dp->pool.nidle += (int) driver->report.idle - (int) dp->config.before[driver - dp->config.drivers].idle;
	set_wanted(dp, driver, (int) driver->report.wanted + driver->order.acquire);
}

/* The first moment that was set for all of them is the one that is compared. */
static void
note_begin(const DriversPool *dp, Driver *driver)
{
	int64		began_us = (int64) driver->report.began_us - driver->offset_us;

	if (driver->began_us == 0 && driver->report.began_us != 0 && dp->go_us != 0 &&
		began_us + (int64) driver->trip_us >= (int64) dp->go_us)
		driver->began_us = began_us;
}

/* A driver has no more than it may, whatever it says. */
static void
bound_report(Driver *driver)
{
	DriveReport *report = &driver->report;

	report->held = Min(report->held, driver->most);
	report->open = Min(report->open, driver->most);
	report->opening = Min(report->opening, report->open);
	report->idle = Min(report->idle, driver->most);
	report->wanted = Min(report->wanted, WANTED_MAX);
}

/* DriverEvents.heard().  A report is kept by the driver until the next one, so what it had before is kept here. */
static void
drivers_heard(Driver *driver)
{
	DriversPool *dp = driver->owner;
	DriveReport *before = &dp->config.before[driver - dp->config.drivers];

	bound_report(driver);
	add_counters(dp, driver, before);
	keep_failures(&dp->pool, &driver->report, before);
	add_waits(&dp->pool, driver);
	add_state(dp, driver);
	note_begin(dp, driver);
	add_crowd(dp, driver);
	add_loads(dp, driver);
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

/* PoolType.read_state() */
static void
drivers_read_state(Pool *pool, PoolState *truth)
{
	const DriversPoolConfig *config = &((DriversPool *) pool)->config;

	if (config->shared)
		pool_bouncer_state(pool, config->probe, truth);
	else
		pool_foreign_state(pool, config->probe, config->capacity, truth);
}

/* PoolType.refresh() */
static bool
drivers_refresh(Pool *pool, uint64 since_us)
{
	Probe	   *probe = ((DriversPool *) pool)->config.probe;

	return probe == NULL || probe_refresh(probe, since_us);
}

/* PoolType.answered_in_us() */
static uint64
drivers_answered_in_us(Pool *pool)
{
	const Probe *probe = ((DriversPool *) pool)->config.probe;

	return probe != NULL ? probe->round_us : 0;
}

/* PoolType.serve(): there is no request here. */
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
	dp->kind = (PoolType) {
		.kind = config->kind->kind,
		.queues = config->shared,
		.read_state = drivers_read_state,
		.refresh = drivers_refresh,
		.answered_in_us = drivers_answered_in_us,
		.serve = drivers_serve,
		.cancel = drivers_cancel,
		.acquire_many = drivers_acquire,
		.release_many = drivers_release,
		.load_begin = drivers_load_begin,
		.load_stop = drivers_load_stop,
		.crowd = drivers_crowd,
		.close = drivers_close,
	};
	dp->said_us = palloc0(sizeof(uint64) * config->n);
	pool_init(&dp->pool, &dp->kind, &logins, 0);
	dp->pool.clock_error_us = longest_trip_us(dp);
	dp->pool.lag_ms = (int) ((LEAD_US + 4 * longest_trip_us(dp)) / 1000) + 3 * DRIVER_CALL_MS;
	for (int i = 0; i < config->n; i++)
	{
		/* What it has done to show that it can is not the load's. */
		dp->config.before[i] = config->drivers[i].report;
		driver_begin(&config->drivers[i], &drivers_events, dp);
	}
	return &dp->pool;
}

/* Returns how late a driver did something, at the most. */
uint64
pool_drivers_absent_us(const Pool *pool)
{
	const DriversPoolConfig *config = &((const DriversPool *) pool)->config;
	uint64		absent_us = 0;

	for (int i = 0; i < config->n; i++)
		absent_us = Max(absent_us, config->before[i].absent_us);
	return absent_us;
}

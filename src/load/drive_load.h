/*
 * drive_load.h
 *		A load that a driver plays: what it needs to know, and what it says of it.
 *
 * What it says is of the time since it said so last: so it adds up, and no tally is sent twice.
 */
#pragma once

#include "libpq-fe.h"
#include "load/client.h"
#include "load/drive_report.h"

/* Loads of a run that are not over, at the most; each has a number below that. */
#define DRIVE_LOADS_MAX	8

/*
 * What it needs to know beside its SQL, as numbers in this order, from 0 to that: the members of
 * LoadConfig and Arrival of these names.
 */
#define LOAD_FIGURES(CONFIG, ARRIVAL) \
	CONFIG(hold_ms, LOAD_LONG) \
	CONFIG(exponential, 1) \
	CONFIG(failing_percent, 100) \
	CONFIG(leak_on_error, 1) \
	CONFIG(seed, LOAD_LONG) \
	CONFIG(clients, PG_INT32_MAX) \
	CONFIG(operations, PG_INT32_MAX) \
	ARRIVAL(kind, PG_INT32_MAX) \
	ARRIVAL(rate, LOAD_RATE_MAX)	/* 0: a closed loop */ \
	ARRIVAL(burst_rate, LOAD_RATE_MAX) \
	ARRIVAL(duration_us, LOAD_LONG) \
	ARRIVAL(burst_us, LOAD_LONG) \
	ARRIVAL(burst_every_us, LOAD_LONG) \
	ARRIVAL(early, 1)

#define LOAD_LONG		1e15
#define LOAD_RATE_MAX	1000000

#define LOAD_FIGURE_ONE(name, max)	+ 1
#define LOAD_FIGURES_N			(LOAD_FIGURES(LOAD_FIGURE_ONE, LOAD_FIGURE_ONE))

typedef struct LoadFigure
{
	const char *name;
	double		max;
} LoadFigure;

extern const LoadFigure load_figures[];

/* Of a tally, for the clients that came in a burst and for the others. */
#define TALLY_COUNTERS(COUNTER) \
	COUNTER(asked) \
	COUNTER(granted) \
	COUNTER(refused) \
	COUNTER(timed_out) \
	COUNTER(unserved) \
	COUNTER(succeeded) \
	COUNTER(failed) \
	COUNTER(failing) \
	COUNTER(queued) \
	COUNTER(shortest_timeout_us) \
	COUNTER(longest_timeout_us)

#define TALLY_SUMS(SUM) \
	SUM(hold_us) \
	SUM(wait_us)

#define TALLY_HISTOGRAMS(HISTOGRAM) \
	HISTOGRAM(wait) \
	HISTOGRAM(connect) \
	HISTOGRAM(query) \
	HISTOGRAM(response)

/* Of a load, as it is. */
#define LOAD_NUMBERS(NUMBER) \
	NUMBER(coming) \
	NUMBER(busy) \
	NUMBER(asking) \
	NUMBER(holding) \
	NUMBER(peak_holding) \
	NUMBER(ended) \
	NUMBER(over_limit) \
	NUMBER(last_us)

#define LOAD_NUMBER_FIELD(name) int64 name;

typedef struct DriveLoad
{
	LOAD_NUMBERS(LOAD_NUMBER_FIELD)
	bool		here;			/* there was something of it */
} DriveLoad;

extern char *drive_load_figures(const LoadConfig *config, const Arrival *arrival);
extern void drive_load_read_figures(const double *figures, LoadConfig *config, Arrival *arrival);
extern void drive_load_write(Load *load, int number, DriveRowPut put, void *arg);
extern void drive_load_read(const PGresult *rows, int number, int64 offset_us, DriveLoad *said, Load *into);

/*
 * merge.c
 *		How long a coordinator takes to merge the results of drivers.
 *
 *	merge DRIVERS REPORTS
 *
 * Each driver has a report with a row for every bucket that a latency can fall into, as
 * pool_exhaust_drive() would send it; the coordinator reads it and adds it up, as
 * pool_drivers.c does.  Prints how long all drivers took for one report each, in
 * milliseconds, once for each of REPORTS; the sums must be those of one process that had all values.
 *
 * To be linked with src/base/histogram.c, src/load/drive_report.c, libpgport and libpq.
 */
#include "postgres.h"

#include <time.h>

#include "load/drive_report.h"

static double
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void
fail(const char *what)
{
	printf("not ok: %s\n", what);
	exit(1);
}

/* ---------- A report, as it comes from a driver ---------- */

static void
put_row(PGresult *rows, const char *item, int64 key, int64 value)
{
	char		text[2][32];
	const char *values[] = {item, text[0], text[1], ""};
	int			row = PQntuples(rows);

	snprintf(text[0], sizeof(text[0]), INT64_FORMAT, key);
	snprintf(text[1], sizeof(text[1]), INT64_FORMAT, value);
	for (int i = 0; i < 4; i++)
		if (!PQsetvalue(rows, row, i, unconstify(char *, values[i]), (int) strlen(values[i])))
			fail("out of memory");
}

static PGresult *
report_make(const Histogram *waits)
{
	static int64 pairs[2 * HISTOGRAM_BUCKETS];
	PGresAttDesc columns[] = {{"item"}, {"key"}, {"value"}, {"message"}};
	PGresult   *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	int			n = histogram_pairs(waits, pairs);

	if (rows == NULL || !PQsetResultAttrs(rows, lengthof(columns), columns))
		fail("out of memory");
	for (int i = 0; i < ndrive_numbers; i++)
		put_row(rows, drive_numbers[i].name, 0, 1000 + i);
	for (int i = 0; i < n; i++)
		put_row(rows, DRIVE_WAITS, pairs[2 * i], pairs[2 * i + 1]);
	return rows;
}

/* ---------- What the coordinator does with them ---------- */

static uint64
merge(PGresult **rows, int n, Histogram *total)
{
	static DriveReport report;
	uint64		granted = 0;

	for (int i = 0; i < n; i++)
	{
		static Histogram of_driver;

		if (!drive_report_read(&report, rows[i]))
			fail("a report cannot be read");
		granted += report.granted;
		histogram_merge(&of_driver, &report.waits);
		histogram_merge(total, &report.waits);
	}
	return granted;
}

int
main(int argc, char **argv)
{
	int			drivers = argc == 3 ? atoi(argv[1]) : 0;
	int			reports = argc == 3 ? atoi(argv[2]) : 0;
	Histogram	all = {0};
	PGresult  **rows;

	if (drivers < 1 || reports < 1)
		fail("usage: merge DRIVERS REPORTS");
	rows = calloc(drivers, sizeof(PGresult *));
	for (int i = 0; i < drivers; i++)
	{
		Histogram	waits = {0};

		/* A value in each step of every octave, a little different from driver to driver */
		for (uint64 us = 1; us < UINT64CONST(1) << HISTOGRAM_OCTAVES; us += us / 40 + 1)
			for (int k = 0; k <= i; k++)
				histogram_add(&waits, us + k);
		histogram_merge(&all, &waits);
		rows[i] = report_make(&waits);
	}
	for (int i = 0; i < reports; i++)
	{
		Histogram	total = {0};
		double		begun_ms = now_ms();
		uint64		granted = merge(rows, drivers, &total);

		printf("%.3f\n", now_ms() - begun_ms);
		if (memcmp(&total, &all, sizeof(total)) != 0 || granted != (uint64) drivers * 1000)
			fail("the sums are not those of all values");
	}
	return 0;
}

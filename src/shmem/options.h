/*
 * options.h
 *		The options of runs: one list of them, and what a scenario, a caller and a
 *		run have of it.
 */
#pragma once

#include "base/option_words.h"

#define DAY_MS		(24 * 3600 * 1000)
#define REPEAT_MAX	100

/* A list of levels in percent. */
#define LEVELS_MAX	16

typedef struct Levels
{
	int64		n;
	int64		percent[LEVELS_MAX];
} Levels;

/* A list of names, none if n is 0. */
#define NAME_LIST_MAX	16

typedef struct NameList
{
	int64		n;
	char		name[NAME_LIST_MAX][NAMEDATALEN];
} NameList;

/*
 * Every option of every scenario.  Its row is its field in Options, its type and
 * its bounds; a scenario lists those that it has, with their defaults.
 *
 * NUMBER(name, min, max, what): "what" the number means where no view describes
 *		it, or NULL.
 * WORD(name): a member of the set with <name>_words, see base/option_words.h.
 * TEXT(name, bytes, what, unset): "what" it is, and what takes its place if it is
 *		left out, for the hint; it has fewer than so many bytes.
 * LEVELS(name, min, max): bounds of each level.
 * NAMES(name, what): "what" they are names of.
 */
#define OPTION_LIST(NUMBER, WORD, TEXT, LEVELS, NAMES) \
	WORD(profile) \
	NUMBER(seed, 0, PG_INT32_MAX, NULL) \
	NUMBER(timeout_ms, 100, DAY_MS, NULL) \
	WORD(on_fail) \
	WORD(bystanders) \
	NUMBER(handshakes, 1, 240, NULL)	/* logins in flight at once */ \
	NUMBER(chaos, 0, 100, "so many disturbances a second, 0 for none") \
	WORD(fault) \
	NUMBER(fault_ms, 0, 60 * 1000, NULL)	/* slow_grant: no grant comes sooner; 0 = beyond the limit */ \
	NUMBER(repeat, 0, REPEAT_MAX, "so many runs, 0 for this one alone") \
	NUMBER(against, 0, PG_INT64_MAX, "the id of a run, 0 for those before") \
	TEXT(database, NAMEDATALEN, "the name of a database", "the caller's") \
	NAMES(drivers, "foreign servers of kind driver") \
	\
	/* Of the pools of this server. */ \
	NUMBER(attempts, 1, 10000, NULL)	/* beyond capacity */ \
	NUMBER(role_limit, 1, 10000, NULL)	/* CONNECTION LIMIT of target role */ \
	\
	/* Of the application-style pool. */ \
	NUMBER(pool_size, 1, 10000, NULL) \
	NUMBER(max_overflow, 0, 10000, NULL)	/* connections beyond pool_size */ \
	NUMBER(pool_timeout_ms, 10, 600 * 1000, NULL)	/* the longest wait for a connection */ \
	NUMBER(max_waiting, 0, 100000, NULL)	/* requests in the queue; 0 = no limit */ \
	WORD(idle_order) \
	NUMBER(max_lifetime_ms, 0, DAY_MS, NULL)	/* of a connection; 0 = no limit */ \
	NUMBER(connect_timeout_ms, 10, 600 * 1000, NULL) \
	TEXT(second, NAMEDATALEN, "the name of a foreign server", "needed where the target is a foreign server") \
	\
	/* Of the load. */ \
	TEXT(workload, 1024, "SQL", "the scenario's own") \
	NUMBER(work_ms, 0, 60 * 1000, NULL)	/* an operation takes that long */ \
	NUMBER(long_ms, 1, 600 * 1000, NULL)	/* and a long one that long */ \
	NUMBER(long_operations, 1, 100000, NULL) \
	NUMBER(quick_operations, 1, 100000, NULL) \
	NUMBER(clients, 1, 100000, NULL) \
	NUMBER(rate, 1, 100000, NULL)		/* arrivals a second */ \
	WORD(arrivals) \
	NUMBER(failing_percent, 0, 100, NULL)	/* operations that fail on purpose */ \
	LEVELS(levels, 0, 1000)				/* in percent */ \
	NUMBER(load_percent, 1, 100, NULL)	/* of the capacity that was measured */ \
	NUMBER(burst_percent, 101, 1000, NULL) \
	\
	/* Of leaks. */ \
	NUMBER(operations, 1, 100000, NULL) \
	NUMBER(leak_threshold_ms, 100, 3600 * 1000, NULL)	/* of the run's sessions */ \
	NUMBER(vanish_ms, 10, 600 * 1000, NULL) /* statements whose clients vanish take that long */ \
	NUMBER(outage_ms, 100, DAY_MS, NULL)	/* the longest wait for the target's restart */ \
	\
	/* Of connections held by hand. */ \
	NUMBER(hold_ms, 0, DAY_MS, "0 is for pool_exhaust.max_hold_time")	/* until they are released */ \
	NUMBER(spacing_ms, 0, 600 * 1000, "milliseconds from one connection of kind growth to the next; 0 is for a little more than an eighth of pool_exhaust.leak_threshold") \
	WORD(reserved) \
	\
	/* How long its parts take. */ \
	NUMBER(baseline_ms, 10, DAY_MS, NULL) \
	NUMBER(sustained_ms, 10, DAY_MS, NULL) \
	NUMBER(burst_ms, 10, DAY_MS, NULL)	/* one burst ... */ \
	NUMBER(burst_every_ms, 10, DAY_MS, NULL)	/* ... from the begin of one to that of the next */ \
	NUMBER(exhaust_ms, 10, DAY_MS, NULL) \
	NUMBER(level_ms, 10, DAY_MS, NULL) \
	NUMBER(churn_ms, 10, DAY_MS, NULL) \
	\
	/* What it must keep to. */ \
	NUMBER(tolerance_ms, 1, 60 * 1000, NULL) \
	NUMBER(tolerance_percent, 1, 100, NULL) \
	NUMBER(success_percent, 0, 100, NULL)	/* at least */ \
	NUMBER(burst_error_percent, 0, 100, NULL)	/* at most */ \
	NUMBER(response_limit_ms, 1, 3600 * 1000, NULL) \
	NUMBER(recovery_limit_ms, 1, 3600 * 1000, NULL) \
	NUMBER(latency_limit_ms, 1, 3600 * 1000, NULL) \
	NUMBER(latency_limit_percent, 0, 1000, NULL)	/* up to this level */ \
	NUMBER(keep_percent, 0, 100, NULL)	/* of its throughput, at least */

#define OPTION_MEMBER(name, ...)	OPTION_##name,

typedef enum OptionId
{
	OPTION_LIST(OPTION_MEMBER, OPTION_MEMBER, OPTION_MEMBER, OPTION_MEMBER, OPTION_MEMBER)
	OPTION_END					/* of a list of defaults */
} OptionId;

#define OPTIONS OPTION_END

#define OPTION_INT64_FIELD(name, ...)		int64 name;
#define OPTION_TEXT_FIELD(name, bytes, ...)	char name[bytes];
#define OPTION_LEVELS_FIELD(name, ...)		Levels name;
#define OPTION_NAMES_FIELD(name, ...)		NameList name;

typedef struct Options
{
	OPTION_LIST(OPTION_INT64_FIELD, OPTION_INT64_FIELD, OPTION_TEXT_FIELD, OPTION_LEVELS_FIELD, OPTION_NAMES_FIELD)
} Options;

/* Some of the options. */
typedef struct OptionSet
{
	bool		has[OPTIONS];
} OptionSet;

/* What the caller asked for: the options that were given, and their values; the others are zero. */
typedef struct AskedOptions
{
	OptionSet	given;
	Options		values;
} AskedOptions;

/*
 * One of the options that a scenario has beside those that all have, with its
 * default in each profile; a list of levels has the same one in all.
 */
typedef struct OptionDefault
{
	OptionId	id;
	int64		defaults[PROFILES];
	Levels		levels;
	bool		random;			/* or else it is drawn for each run */
	bool		inherits;		/* PgBouncer knows better: see target/pgbouncer.c */
} OptionDefault;

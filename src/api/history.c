/*
 * history.c
 *		pool_exhaust_history(): what was recorded, in steps of time, for the server and
 *		by service.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "api/rows.h"
#include "base/text.h"
#include "observe/monitor/service.h"
#include "observe/recorder/recording.h"
#include "shmem/names.h"

PG_FUNCTION_INFO_V1(pool_exhaust_history);

/* So many steps have a row for the server, at the most. */
#define STEPS_MAX	100000

/* Services that have rows of their own; those that come later are among the others. */
#define SERVICES_MAX	10000

/* The longest step */
#define STEP_DAYS_MAX	10000

/* So often the clock may be set back; where it was oftener, see add_second(). */
#define STRETCHES_MAX	32

/* A second that begins so much before the one before it begins a stretch. */
#define BACK_US			USECS_PER_SEC

/* Which service it is. */
typedef struct SumKey
{
	char		usename[NAMEDATALEN];
	char		application_name[NAMEDATALEN];
	uint32		number;			/* 0 where it has names */
} SumKey;

/* What is added up of the server, or of a service, in a step. */
typedef struct Sum
{
	SumKey		key;			/* must be first */
	Datum		name;			/* as the rows have it; 0: none has it yet */
	bool		may_see;
	int64		by_state_us[SLOT_STATES];	/* each times the microseconds that it stands for */
	int			peak_in_use;
	int64		opened;
	int64		closed;			/* these two: of the server */
	int			reserved_in_use;
	int64		refused;
} Sum;

typedef struct History
{
	RowBuilder	row;
	TimestampTz from;			/* of this step */
	TimestampTz to;
	TimestampTz until;
	int64		step_us;
	int64		measured_us;
	int			capacity;
	Health		health;
	Sum			server;
	HTAB	   *services;
	MemoryContext names;		/* of services */
	MemoryContext rows;			/* what the rows of a step need */
} History;

/* What was recorded from one moment at which the clock was set back to the next. */
typedef struct Stretch
{
	Recording  *recording;
	int			number;			/* from 0 on */
	int			at;				/* which one the recording is in */
	TimestampTz last;			/* the begin of the second before */
	const RecordedSecond *second;	/* the next one; NULL: it is over */
	Sum		   *at_place[RECORDED_SERVICES_MAX + 1];	/* of the service that is there; NULL: not known yet */
} Stretch;

/* ---------- Rows ---------- */

static double
rounded(double value)
{
	return rint(value * 1000) / 1000;
}

static void
put_average(History *history, int64 in_use_us)
{
	row_float_if(&history->row, history->measured_us > 0, rounded((double) in_use_us / Max(history->measured_us, 1)));
}

static int64
in_use_us(const Sum *sum)
{
	int64		in_use = 0;

	for (int i = 0; i < SLOT_STATES; i++)
		in_use += sum->by_state_us[i];
	return in_use;
}

/* What the rows of the server and of services have in common; counts are those of what was measured. */
static void
put_sum(History *history, const Sum *sum)
{
	RowBuilder *row = &history->row;
	bool		measured = history->measured_us > 0;

	row_time(row, (uint64) history->from);
	if (sum->name != 0)
		row_value(row, sum->name);
	else
		row_text(row, NULL);
	row_float_if(row, true, rounded(Min((double) history->measured_us / (history->to - history->from), 1)));
	put_average(history, in_use_us(sum));
	row_int_if(row, measured, sum->peak_in_use);
	put_average(history, sum->by_state_us[SLOT_ACTIVE]);
	put_average(history, sum->by_state_us[SLOT_IDLE]);
	put_average(history, sum->by_state_us[SLOT_IDLE_IN_TRANSACTION]);
	row_bigint_if(row, measured, sum->opened);
	row_bigint_if(row, measured, sum->refused);
}

static void
put_server(History *history)
{
	RowBuilder *row = &history->row;
	const Sum  *sum = &history->server;
	bool		measured = history->measured_us > 0;

	put_sum(history, sum);
	put_average(history, sum->by_state_us[SLOT_AUTHENTICATING]);
	row_bigint_if(row, measured, sum->closed);
	row_int_if(row, measured, sum->reserved_in_use);
	row_int_if(row, measured, history->capacity);
	row_text(row, measured ? health_names[history->health] : NULL);
	row_end(row);
}

static const char *
service_text(const Sum *sum)
{
	if (sum->key.number != 0)
		return psprintf("service %u", sum->key.number);
	if (sum->key.usename[0] == '\0' && sum->key.application_name[0] == '\0')
		return NAMES_OTHERS;
	return psprintf("%s/%s", sum->key.usename, sum->key.application_name);
}

/* A service has its name once, and many rows. */
static void
require_name(History *history, Sum *sum)
{
	MemoryContext old = MemoryContextSwitchTo(history->names);

	if (sum->name == 0)
		sum->name = CStringGetTextDatum(service_text(sum));
	MemoryContextSwitchTo(old);
}

static void
put_service(History *history, Sum *sum)
{
	RowBuilder *row = &history->row;

	require_name(history, sum);
	put_sum(history, sum);
	row_float_if(row, false, 0);
	row_bigint_if(row, false, 0);
	row_int_if(row, false, 0);
	row_int_if(row, false, 0);
	row_text(row, NULL);
	row_end(row);
}

/* ---------- Steps ---------- */

static void
sum_clear(Sum *sum)
{
	memset(sum->by_state_us, 0, sizeof(sum->by_state_us));
	sum->peak_in_use = sum->reserved_in_use = 0;
	sum->opened = sum->closed = sum->refused = 0;
}

/* Writes the rows of the step, and begins the next. */
static void
step_end(History *history)
{
	HASH_SEQ_STATUS seq;
	Sum		   *sum;
	MemoryContext old = MemoryContextSwitchTo(history->rows);

	CHECK_FOR_INTERRUPTS();
	put_server(history);
	hash_seq_init(&seq, history->services);
	while ((sum = hash_seq_search(&seq)) != NULL)
	{
		if (sum->may_see && (sum->peak_in_use > 0 || sum->opened > 0 || sum->refused > 0))
			put_service(history, sum);
		sum_clear(sum);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(history->rows);
	sum_clear(&history->server);
	history->measured_us = 0;
	history->health = HEALTH_HEALTHY;
	history->from = history->to;
	history->to = Min(history->from + history->step_us, history->until);
}

/* ---------- Seconds ---------- */

static Sum *
sum_of(History *history, const RecordedSecond *second, const RecordedService *service)
{
	SumKey		key;
	bool		found;
	Sum		   *sum;

	memset(&key, 0, sizeof(key));
	strlcpy(key.usename, service->usename, NAMEDATALEN);
	strlcpy(key.application_name, service->application_name, NAMEDATALEN);
	if (key.usename[0] == '\0' && key.application_name[0] == '\0')
		key.number = service->number;
	if (hash_get_num_entries(history->services) >= SERVICES_MAX && hash_search(history->services, &key, HASH_FIND, NULL) == NULL)
		memset(&key, 0, sizeof(key));
	sum = hash_search(history->services, &key, HASH_ENTER, &found);
	if (!found)
	{
		sum_clear(sum);
		sum->name = 0;
		sum->may_see = false;
	}
	sum->may_see |= service_may_see(service->role);
	return sum;
}

/* From that state on: no login under way has a service. */
static inline void
add_states(Sum *sum, SlotState first, const int *by_state, int64 us)
{
	int			in_use = 0;

	for (int i = first; i < SLOT_STATES; i++)
	{
		sum->by_state_us[i] += by_state[i] * us;
		in_use += by_state[i];
	}
	sum->peak_in_use = Max(sum->peak_in_use, in_use);
}

static inline void
add_counts(Sum *sum, uint32 opened, uint64 refused)
{
	sum->opened += opened;
	sum->refused += refused;
}

static inline void
add_service(History *history, Stretch *stretch, int place, int64 part_us, bool ends)
{
	const RecordedService *service = &stretch->second->services[place];
	Sum		  **sum = &stretch->at_place[place];

	if (*sum == NULL)
		*sum = sum_of(history, stretch->second, service);
	add_states(*sum, SLOT_AUTHENTICATING + 1, service->by_state, part_us);
	if (ends)
		add_counts(*sum, service->opened, service->refused);
}

/* Adds a second, or the part of it that is in this step; its counters are those of the step in which it ends. */
static void
add_part(History *history, Stretch *stretch, int64 part_us, bool ends)
{
	const RecordedSecond *second = stretch->second;

	history->measured_us += part_us;
	history->capacity = second->capacity;
	history->health = Max(history->health, second->health);
	history->server.reserved_in_use = Max(history->server.reserved_in_use, recorded_reserved_in_use(second));
	add_states(&history->server, SLOT_AUTHENTICATING, second->by_state, part_us);
	if (ends)
	{
		add_counts(&history->server, second->opened, recorded_refused(second));
		history->server.closed += second->closed;
	}
	/* Millions of them in a day: by place, which foreach_recorded_service() would have to work out. */
	for (int i = 0; i <= RECORDED_OTHERS; i++)
		if (second->services[i].taken)
			add_service(history, stretch, i, part_us, ends);
}

/* Adds the second of the stretch; what was shortly before that step counts as of this one. */
static void
add_second(History *history, Stretch *stretch)
{
	const RecordedSecond *second = stretch->second;

	if (second->renamed)
		memset(stretch->at_place, 0, sizeof(stretch->at_place));
	if (second->kind != RECORDED_SECOND || second->to <= history->from - history->step_us)
		return;
	while (second->from >= history->to && history->to < history->until)
		step_end(history);
	while (second->to > history->to && history->to < history->until)
	{
		if (second->from < history->to)
			add_part(history, stretch, history->to - Max(second->from, history->from), false);
		step_end(history);
	}
	if (second->to > history->from && second->from < history->until)
		add_part(history, stretch, Min(second->to, history->to) - Max(second->from, history->from), second->to <= history->until);
}

/* ---------- Stretches ---------- */

/* Reads its next second. */
static void
stretch_next(Stretch *stretch)
{
	while ((stretch->second = recording_next(stretch->recording)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (stretch->last != 0 && stretch->second->from < stretch->last - BACK_US && stretch->at + 1 < STRETCHES_MAX)
			stretch->at++;
		stretch->last = stretch->second->from;
		if (stretch->at == stretch->number)
			return;
		if (stretch->at > stretch->number)
			break;
	}
	stretch->second = NULL;
}

/* Returns the stretch whose next second begins first, NULL: all are over. */
static Stretch *
stretch_first(Stretch *stretches, int n)
{
	Stretch    *first = NULL;

	for (int i = 0; i < n; i++)
		if (stretches[i].second != NULL && (first == NULL || stretches[i].second->from < first->second->from))
			first = &stretches[i];
	return first;
}

/*
 * Writes the rows of all that is in so many stretches, each of which reads the recording
 * for itself; returns whether there were no more.
 */
static bool
stretches_read(History *history, int n)
{
	Stretch    *stretches = palloc0(sizeof(Stretch) * n);
	Stretch    *stretch;
	bool		all;

	for (int i = 0; i < n; i++)
	{
		stretches[i].number = i;
		stretches[i].recording = recording_open(history->from, history->until, RECORDING_ALL, RECORDING_NO_LIMIT);
		stretch_next(&stretches[i]);
	}
	while ((stretch = stretch_first(stretches, n)) != NULL)
	{
		if (stretch->second->from < history->until)
			add_second(history, stretch);
		stretch_next(stretch);
	}
	while (history->from < history->until)
		step_end(history);
	all = stretches[n - 1].at < n;
	for (int i = 0; i < n; i++)
		recording_close(stretches[i].recording);
	pfree(stretches);
	return all;
}

/* ---------- The function ---------- */

static void
history_check(TimestampTz from, TimestampTz until, const Interval *step)
{
	int64		steps;

	if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the begin and the end of a history must be finite")));
	if (step->month != 0 || step->day > STEP_DAYS_MAX || step->day < -STEP_DAYS_MAX || step->day * USECS_PER_DAY + step->time < USECS_PER_SEC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the step of a history is %s, and must be one second or more, in units up to days, and no more than %d of these", interval_text(step), STEP_DAYS_MAX)));
	steps = (until - from) / (step->day * USECS_PER_DAY + step->time);
	if (steps >= STEPS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("that history has " INT64_FORMAT " steps, and %d is the most", steps, STEPS_MAX),
				 errhint("Ask for a longer step, or for less time.")));
}

static HTAB *
sums_create(void)
{
	HASHCTL		ctl = {.keysize = sizeof(SumKey), .entrysize = sizeof(Sum), .hcxt = CurrentMemoryContext};

	return hash_create("pool_exhaust history", 128, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* SQL: what was recorded between two moments, a row a step for the server and each service. */
Datum
pool_exhaust_history(PG_FUNCTION_ARGS)
{
	TimestampTz from = PG_GETARG_TIMESTAMPTZ(0);
	TimestampTz until = Min(PG_GETARG_TIMESTAMPTZ(1), GetCurrentTimestamp());
	const Interval *step = PG_GETARG_INTERVAL_P(2);
	History    *history = palloc0(sizeof(History));

	history->row = rows_begin(fcinfo);
	history_check(from, until, step);
	history->step_us = step->day * USECS_PER_DAY + step->time;
	history->until = until;
	history->services = sums_create();
	history->names = CurrentMemoryContext;
	history->rows = AllocSetContextCreate(CurrentMemoryContext, "pool_exhaust history rows", ALLOCSET_DEFAULT_SIZES);
	for (int n = 1;; n = Min(2 * n, STRETCHES_MAX))
	{
		history->from = from;
		history->to = Min(from + history->step_us, until);
		if (stretches_read(history, n))
			return (Datum) 0;
		tuplestore_clear(history->row.rsinfo->setResult);
	}
}

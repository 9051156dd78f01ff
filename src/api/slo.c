/*
 * slo.c
 *		pool_exhaust_slo(): the service level of the past, its error budget, and how fast
 *		that burns.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "advise/slo/slo.h"
#include "api/rows.h"
#include "base/text.h"
#include "observe/recorder/recording.h"

PG_FUNCTION_INFO_V1(pool_exhaust_slo);

static const char *const indicator_names[SLO_INDICATORS] = {"logins", "seconds"};

/* What the caller asks for. */
typedef struct Question
{
	double		objective;
	TimestampTz from;
	TimestampTz to;
	double		price;			/* of a minute; NaN: none */
} Question;

static Question
question_read(FunctionCallInfo fcinfo)
{
	Question	q = {
		.objective = PG_GETARG_FLOAT8(0),
		.to = GetCurrentStatementStartTimestamp(),
		.price = PG_ARGISNULL(2) ? NAN : PG_GETARG_FLOAT8(2),
	};

	if (!(q.objective > 0 && q.objective < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("objective %g is not between 0 and 1", q.objective),
				 errhint("99.9 %% is written 0.999.")));
	if (q.price < 0 || isinf(q.price))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("price_per_minute %g must not be less than 0, nor infinite", q.price)));
	q.from = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(q.to),
													 PG_GETARG_DATUM(1)));
	if (TIMESTAMP_NOT_FINITE(q.from) || q.from >= q.to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("window is %s, and must be longer than 0, and finite", interval_text(PG_GETARG_INTERVAL_P(1))),
				 errhint("For example: '30 days'.")));
	return q;
}

/* Adds up what the recorder has of that time. */
static Slo *
slo_read(const Question *q)
{
	Slo		   *slo = palloc(sizeof(Slo));
	Recording  *recording = recording_open(q->from, q->to, RECORDING_ALL, RECORDING_NO_LIMIT);
	const RecordedSecond *second;

	slo_begin(slo, q->from, q->to);
	while ((second = recording_next(recording)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		slo_add(slo, second);
	}
	recording_close(recording);
	return slo;
}

/* With 6 decimals; NaN: null. */
static void
put_number(RowBuilder *row, double value)
{
	row_float_if(row, !isnan(value), rint(1e6 * value) / 1e6);
}

static void
put_seconds(RowBuilder *row, double seconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->day = (int32) (seconds / SECS_PER_DAY);
	interval->time = (TimeOffset) rint((seconds - interval->day * (double) SECS_PER_DAY) * USECS_PER_SEC);
	row_value(row, IntervalPGetDatum(interval));
}

static void
put_runs(RowBuilder *row, const Slo *slo)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(slo->nruns, 1));

	for (int i = 0; i < slo->nruns; i++)
		ids[i] = Int64GetDatum(slo->runs[i]);
	row_value(row, PointerGetDatum(construct_array(ids, slo->nruns, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

/* Minutes as bad as if nothing had been good in them. */
static double
minutes_burnt(const Slo *slo, SloIndicator indicator)
{
	const SloCount *seconds = &slo->whole[SLO_SECONDS];

	return (1 - slo_level(&slo->whole[indicator])) * (seconds->good + seconds->bad) / SECS_PER_MINUTE;
}

static void
put_indicator(RowBuilder *row, const Slo *slo, SloIndicator indicator, const Question *q)
{
	const SloCount *count = &slo->whole[indicator];
	double		price_s = indicator == SLO_SECONDS ? q->price / SECS_PER_MINUTE : NAN;

	row_text(row, indicator_names[indicator]);
	put_number(row, 100 * q->objective);
	put_number(row, 100 * slo_level(count));
	put_number(row, count->good);
	put_number(row, count->bad);
	put_number(row, count->good + count->bad);
	put_number(row, 100 * slo_burn(count, q->objective));
	put_number(row, minutes_burnt(slo, indicator));
	for (int i = 0; i < SLO_WINDOWS; i++)
		put_number(row, slo_burn(&slo->recent[i][indicator], q->objective));
	row_text(row, slo_alert(slo, indicator, q->objective));
	put_number(row, price_s * slo->lost_s);
	put_number(row, price_s * count->bad);
	put_seconds(row, slo_unmeasured_s(slo));
	put_seconds(row, slo->run_s);
	put_runs(row, slo);
	row_text(row, indicator != SLO_LOGINS ? NULL :
			 psprintf(UINT64_FORMAT " refused by limits of roles, databases or walsenders, " UINT64_FORMAT " while the server accepted none",
					  slo->limited, slo->not_accepting));
	row_end(row);
}

/* pool_exhaust_slo(objective, window, price_per_minute): a row for each indicator. */
Datum
pool_exhaust_slo(PG_FUNCTION_ARGS)
{
	RowBuilder	row;
	Question	q;
	const Slo  *slo;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("objective and window must not be NULL")));
	q = question_read(fcinfo);
	row = rows_begin(fcinfo);
	slo = slo_read(&q);
	for (SloIndicator i = 0; i < SLO_INDICATORS; i++)
		put_indicator(&row, slo, i, &q);
	return (Datum) 0;
}

/*
 * slo.c
 *		The service level of the past, from what the flight recorder kept.
 */
#include "postgres.h"

#include <math.h>

#include "utils/timestamp.h"

#include "advise/slo/slo.h"

#define WINDOW_SECONDS(member, seconds)	[member] = seconds,

static const int window_seconds[] = {SLO_WINDOW_LIST(WINDOW_SECONDS)};

/*
 * An alert: a burn rate over a long window, and a short one that ends it when the
 * refusals have ended.  Both are those of contrib/prometheus/slo.yml.
 */
typedef struct BurnAlert
{
	const char *name;
	double		factor;
	SloWindow	window;
	SloWindow	again;
} BurnAlert;

static const BurnAlert alerts[] = {
	{"burns fast", 14.4, SLO_1_HOUR, SLO_5_MINUTES},
	{"burns", 6, SLO_6_HOURS, SLO_30_MINUTES},
	{"burns slowly", 1, SLO_3_DAYS, SLO_6_HOURS},
};

/* Of fewer logins in the long window one alone is too much of a share. */
#define ALERT_LOGINS_MIN	100

void
slo_begin(Slo *slo, TimestampTz from, TimestampTz to)
{
	memset(slo, 0, sizeof(*slo));
	slo->from = from;
	slo->to = to;
}

static double
seconds_between(TimestampTz from, TimestampTz to)
{
	return (to - from) / (double) USECS_PER_SEC;
}

static void
add_run(Slo *slo, int64 run_id, double length_s)
{
	slo->run_s += length_s;
	if (slo->nruns < SLO_RUNS_MAX && (slo->nruns == 0 || slo->runs[slo->nruns - 1] != run_id))
		slo->runs[slo->nruns++] = run_id;
}

/* What a second adds to each indicator; refusals by decision are counted on the way. */
static void
second_count(Slo *slo, const RecordedSecond *second, double length_s, SloCount counts[SLO_INDICATORS])
{
	SloCount   *logins = &counts[SLO_LOGINS];

	*logins = (SloCount) {.good = second->opened};
	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			logins->bad += second->refused[i];
		else if (i == CAUSE_NOT_ACCEPTING)
			slo->not_accepting += second->refused[i];
		else
			slo->limited += second->refused[i];
	counts[SLO_SECONDS] = logins->bad > 0 ? (SloCount) {.bad = length_s} : (SloCount) {.good = length_s};
	if (logins->bad > 0)
		slo->lost_s += length_s * logins->bad / (logins->good + logins->bad);
}

static void
add_counts(SloCount sums[SLO_INDICATORS], const SloCount counts[SLO_INDICATORS])
{
	for (int i = 0; i < SLO_INDICATORS; i++)
	{
		sums[i].good += counts[i].good;
		sums[i].bad += counts[i].bad;
	}
}

void
slo_add(Slo *slo, const RecordedSecond *second)
{
	double		length_s = seconds_between(second->from, second->to);
	SloCount	counts[SLO_INDICATORS];

	if (second->kind != RECORDED_SECOND || second->from < slo->from || second->to > slo->to || length_s <= 0)
		return;
	if (!recorded_refusals_known(second))
		return;
	if (second->run_id != 0)
	{
		add_run(slo, second->run_id, length_s);
		return;
	}
	second_count(slo, second, length_s, counts);
	add_counts(slo->whole, counts);
	for (int i = 0; i < SLO_WINDOWS; i++)
		if (seconds_between(second->from, slo->to) <= window_seconds[i])
			add_counts(slo->recent[i], counts);
}

double
slo_unmeasured_s(const Slo *slo)
{
	const SloCount *seconds = &slo->whole[SLO_SECONDS];

	/* A clock that was set back measures more than there is. */
	return Max(seconds_between(slo->from, slo->to) - seconds->good - seconds->bad - slo->run_s, 0);
}

double
slo_level(const SloCount *count)
{
	double		measured = count->good + count->bad;

	return measured > 0 ? count->good / measured : NAN;
}

double
slo_burn(const SloCount *count, double objective)
{
	return (1 - slo_level(count)) / (1 - objective);
}

const char *
slo_alert(const Slo *slo, SloIndicator indicator, double objective)
{
	for (int i = 0; i < lengthof(alerts); i++)
	{
		const SloCount *counts = slo->recent[alerts[i].window];

		if (slo_burn(&counts[indicator], objective) > alerts[i].factor &&
			slo_burn(&slo->recent[alerts[i].again][indicator], objective) > alerts[i].factor &&
			counts[SLO_LOGINS].good + counts[SLO_LOGINS].bad >= ALERT_LOGINS_MIN)
			return alerts[i].name;
	}
	return NULL;
}

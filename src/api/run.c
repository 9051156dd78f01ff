/*
 * run.c
 *		Run control as SQL sees it: run, start, wait, stop, report.
 *
 * A run belongs to its runner.  The caller's backend checks what can be
 * checked, claims an entry of the run table, launches the runner and then only
 * waits on the entry's condition variable.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "api/launch.h"
#include "api/run.h"
#include "base/text.h"
#include "load/target/local_endpoint.h"
#include "report/report.h"
#include "request/options.h"
#include "request/preflight.h"
#include "request/run_table.h"
#include "request/target.h"
#include "runner/calibration.h"
#include "runner/results.h"
#include "scenario/list.h"
#include "story/story.h"

PG_FUNCTION_INFO_V1(pool_exhaust_run);
PG_FUNCTION_INFO_V1(pool_exhaust_start);
PG_FUNCTION_INFO_V1(pool_exhaust_wait);
PG_FUNCTION_INFO_V1(pool_exhaust_stop);
PG_FUNCTION_INFO_V1(pool_exhaust_report);
PG_FUNCTION_INFO_V1(pool_exhaust_report_runs);
PG_FUNCTION_INFO_V1(pool_exhaust_report_literal);

/* How many runs a report may have: all of them are in memory at once. */
#define REPORT_RUNS_MAX	1000

static bool progress = true;

void
run_init(void)
{
	DefineCustomBoolVariable("pool_exhaust.progress",
							 "Shows the progress of pool_exhaust_run() as notices.",
							 NULL,
							 &progress, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	local_endpoint_init();
	preflight_init();
	results_init();
	calibration_init();
}

static char *
scenarios_hint(void)
{
	StringInfoData hint;

	initStringInfo(&hint);
	appendStringInfoString(&hint, "Scenarios are: ");
	for (int i = 0; i < nscenarios; i++)
		appendStringInfo(&hint, "%s%s", i > 0 ? ", " : "", scenarios[i]->name);
	appendStringInfoString(&hint, ".  View pool_exhaust_scenarios describes them.");
	return hint.data;
}

static const Scenario *
scenario_arg(FunctionCallInfo fcinfo, int n)
{
	const Scenario *scenario;
	char	   *name;

	arg_require(fcinfo, n, "scenario", scenarios_hint());
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	scenario = scenario_find(name);
	if (scenario == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("scenario \"%s\" does not exist", name),
				 errhint("%s", scenarios_hint())));
	return scenario;
}

static const ReportFormat *
format_arg(FunctionCallInfo fcinfo, int n)
{
	arg_require(fcinfo, n, "format", "Leave it out for text.");
	return report_format_find(text_to_cstring(PG_GETARG_TEXT_PP(n)));
}

/* ERROR if options repeat and against ask for what cannot be. */
static void
require_repeat(const Scenario *scenario, const Options *asked)
{
	const ReportData *base;
	bool		whole;

	if (asked->repeat > 0 && !scenario_has_pools(scenario))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("scenario \"%s\" cannot be repeated", scenario->name),
				 errhint("Repeat one of its scenarios.")));
	if (asked->against == 0)
		return;
	if (asked->repeat == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"against\" needs option \"repeat\""),
				 errhint("For example: {\"repeat\": 5, \"against\": " INT64_FORMAT "}.", asked->against)));
	base = report_read(asked->against, NULL, false);
	whole = strcmp(base->repeat, "whole") == 0;
	if (strcmp(base->scenario, scenario->name) != 0 || whole)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("run " INT64_FORMAT " is %s \"%s\", and cannot be compared with a run of \"%s\"",
						asked->against, whole ? "a repetition of" : "of scenario", base->scenario, scenario->name),
				 errhint("SELECT id FROM pool_exhaust_runs WHERE scenario = '%s' AND verdict = 'pass' lists some.", scenario->name)));
}

/* ERROR where no run is possible at all. */
void
run_preflight_server(void)
{
	preflight_server("a scenario cannot run", "A run makes a login role and writes its results.");
}

/*
 * Reads arguments 0 to 2 of run, start and plan: scenario, target, options.  ERROR if one
 * of them is wrong, or they do not fit together.
 */
void
run_request_read(FunctionCallInfo fcinfo, RunRequest *request)
{
	const Scenario *scenario;

	memset(request, 0, sizeof(*request));
	request->user = GetUserId();
	request->owner = GetSessionUserId();
	scenario = scenario_arg(fcinfo, 0);
	strlcpy(request->scenario, scenario->name, NAMEDATALEN);
	if (PG_ARGISNULL(1))
		target_set(scenario->default_target, request);
	else
		target_find(text_to_cstring(PG_GETARG_TEXT_PP(1)), request);
	target_require(scenario, request);
	arg_require(fcinfo, 2, "options", "Leave it out, or give an empty object.");
	request->asked = options_parse(PG_GETARG_JSONB_P(2), scenario);
	require_repeat(scenario, &request->asked.values);
	request->time_max_ms = PG_INT64_MAX;
}

/* Launches the run and waits until it has reached "wanted"; ERROR if it never got an id. */
static RunStatus
run_begin(RunRequest *request, RunState wanted)
{
	RunStatus	view;

	run_entry_require(request); /* first: its sessions are no bystanders */
	preflight_run(request);
	view = run_launch(request, wanted, wanted == RUN_ENDED && progress);
	if (view.run_id == 0)
		ereport(ERROR,
				(errcode(view.error_code != 0 ? view.error_code : ERRCODE_INTERNAL_ERROR),
				 errmsg("the run could not start: %s",
						view.reason[0] != '\0' ? view.reason : "its runner is gone"),
				 errhint("If the extension was created in this transaction, commit it first; otherwise see the server log.")));
	return view;
}

static void
require_pass(const RunRequest *request, const RunStatus *view, const ReportEnd *end)
{
	Options		options = options_in_force(request, scenario_find(request->scenario));

	if (options.on_fail != ON_FAIL_ERROR || view->verdict == VERDICT_PASS)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ASSERT_FAILURE),
			 errmsg("run " INT64_FORMAT " of scenario \"%s\" on %s: %s", view->run_id,
					request->scenario, request->target_name, verdict_names[view->verdict]),
			 errdetail("%s", report_failures(view->run_id, end)),
			 errhint("SELECT pool_exhaust_report(" INT64_FORMAT ") shows the whole report.", view->run_id)));
}

Datum
pool_exhaust_run(PG_FUNCTION_ARGS)
{
	RunRequest	request;
	const ReportFormat *format;
	RunStatus	view;
	ReportEnd	end;

	run_preflight_server();
	run_request_read(fcinfo, &request);
	format = format_arg(fcinfo, 3);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	view = run_begin(&request, RUN_ENDED);
	end = (ReportEnd) {verdict_names[view.verdict], view.reason, .waited = true};
	require_pass(&request, &view, &end);
	report_put((ReturnSetInfo *) fcinfo->resultinfo, view.run_id, &end, format);
	return (Datum) 0;
}

Datum
pool_exhaust_start(PG_FUNCTION_ARGS)
{
	RunRequest	request;

	run_preflight_server();
	run_request_read(fcinfo, &request);
	PG_RETURN_INT64(run_begin(&request, RUN_RUNNING).run_id);
}

/* Returns how many milliseconds that is, from now on; ERROR if it is negative. */
static int64
interval_ms(const Interval *interval)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
															  TimestampTzGetDatum(now),
															  PointerGetDatum(interval)));

	if (end < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout is %s, and must not be negative", interval_text(interval)),
				 errhint("NULL waits as long as the run takes.")));
	return (end - now + 999) / 1000;
}

Datum
pool_exhaust_wait(PG_FUNCTION_ARGS)
{
	int64		timeout_ms = NO_TIMEOUT;
	int64		run_id;
	Claim		claim;
	char	   *verdict;

	shared_require();
	arg_require(fcinfo, 0, "run_id", "Table pool_exhaust_runs lists the runs.");
	run_id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		timeout_ms = interval_ms(PG_GETARG_INTERVAL_P(1));

	if (run_entry_find_run(run_id, &claim))
	{
		RunStatus	view = run_entry_wait(&claim, RUN_ENDED, timeout_ms, false);

		if (view.state == RUN_ENDED)
			PG_RETURN_TEXT_P(cstring_to_text(verdict_names[view.verdict]));
		if (view.state != RUN_FREE)
			PG_RETURN_NULL();
	}
	if (!report_verdict(run_id, &verdict))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " has no verdict here yet", run_id),
				 errhint("The server is in recovery: wait for a run of the primary there.")));
	PG_RETURN_TEXT_P(cstring_to_text(verdict));
}

Datum
pool_exhaust_stop(PG_FUNCTION_ARGS)
{
	Claim		claims[RUNS_MAX];
	int			n;

	shared_require();
	n = run_entries_to_end(false, PG_ARGISNULL(0), PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0), claims, NULL);
	for (int i = 0; i < n; i++)
		run_entry_stop(&claims[i], STOP_REQUESTED);
	for (int i = 0; i < n; i++)
		run_entry_wait(&claims[i], RUN_ENDED, NO_TIMEOUT, false);
	PG_RETURN_INT32(n);
}

/* Of the latest run, if run_id is null. */
static Datum
report_of_run(FunctionCallInfo fcinfo, bool latest, int64 run_id)
{
	const ReportFormat *format = format_arg(fcinfo, 1);

	if (latest)
		run_id = report_latest();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	report_put((ReturnSetInfo *) fcinfo->resultinfo, run_id, NULL, format);
	return (Datum) 0;
}

/* Returns the ids in the array, each once, in their order; ERROR if one is null, or there are none or too many. */
static int64 *
run_ids_of(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int64	   *ids;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls, &count);
	if (count == 0 || count > REPORT_RUNS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"run_ids\" has %d runs, and a report has 1 to %d", count, REPORT_RUNS_MAX),
				 errhint("Table pool_exhaust_runs lists the runs.")));
	ids = palloc(sizeof(int64) * count);
	*n = 0;
	for (int i = 0; i < count; i++)
	{
		int			earlier = 0;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("element %d of argument \"run_ids\" must not be null", i + 1),
					 errhint("Table pool_exhaust_runs lists the runs.")));
		while (earlier < *n && ids[earlier] != DatumGetInt64(elements[i]))
			earlier++;
		if (earlier == *n)
			ids[(*n)++] = DatumGetInt64(elements[i]);
	}
	return ids;
}

static Datum
report_of_runs(FunctionCallInfo fcinfo, ArrayType *array)
{
	const ReportFormat *format = format_arg(fcinfo, 1);
	int			n;
	int64	   *ids = run_ids_of(array, &n);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	report_put_several((ReturnSetInfo *) fcinfo->resultinfo, ids, n, format);
	return (Datum) 0;
}

Datum
pool_exhaust_report(PG_FUNCTION_ARGS)
{
	bool		latest = PG_ARGISNULL(0);

	return report_of_run(fcinfo, latest, latest ? 0 : PG_GETARG_INT64(0));
}

Datum
pool_exhaust_report_runs(PG_FUNCTION_ARGS)
{
	arg_require(fcinfo, 0, "run_ids", "Table pool_exhaust_runs lists the runs.");
	return report_of_runs(fcinfo, PG_GETARG_ARRAYTYPE_P(0));
}

/*
 * What the parser takes for a literal without a type, or NULL, which might be the
 * argument of both others: "7" or "{7,8}".
 */
Datum
pool_exhaust_report_literal(PG_FUNCTION_ARGS)
{
	char	   *literal = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (literal != NULL && literal[0] == '{')
		return report_of_runs(fcinfo, DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, literal, INT8OID, -1)));
	return report_of_run(fcinfo, literal == NULL, literal == NULL ? 0 : pg_strtoint64(literal));
}

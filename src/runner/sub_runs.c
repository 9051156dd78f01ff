/*
 * sub_runs.c
 *		Runs that a run starts: each has an entry, a runner, an id and a report of
 *		its own, as if the caller had asked for it.
 *
 * What is asked of the caller is asked again for each of them, in the caller's
 * name.  None outlives the run that it is a part of: that run stops them when it
 * ends, and each checks that it is still under way.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "observe/slots/census.h"
#include "request/options.h"
#include "request/preflight.h"
#include "request/run_table.h"
#include "request/target.h"
#include "runner/launch.h"
#include "runner/sub_runs.h"
#include "sql/extension.h"
#include "target/target.h"

/* A run may take so long to clean up on a machine that is too busy. */
#define END_TIMEOUT_MS	(180 * 1000)
#define TURN_MS			20

static Claim
sub_run_claim(const SubRun *sub_run)
{
	return (Claim) {sub_run->number, sub_run->ticket};
}

/* Its end has been read: gives the entry back. */
static void
sub_run_release(SubRun *sub_run)
{
	Claim		claim = sub_run_claim(sub_run);

	run_entry_release(&claim);
	sub_run->state = SUB_RUN_OVER;
	sub_run->ended_us = loop_now_us();
	if (sub_run->worker != NULL)
		pfree(sub_run->worker);
	sub_run->worker = NULL;
}

/*
 * The request of the run, or that of its base, but for the scenario: with the options
 * that it was given and its seed, where the scenario has them, and no more time than
 * is left.
 */
static void
sub_run_plan(const Run *run, const SubRun *sub_run, RunRequest *request)
{
	*request = sub_run->part == PART_BASE ? *run->base : run->request;
	request->parent = run->entry->ticket;
	request->part = sub_run->part;
	strlcpy(request->scenario, sub_run->scenario->name, NAMEDATALEN);
	if (sub_run->part != PART_BASE && sub_run->target != request->target)
		target_set(sub_run->target, request);
	request->asked.values.seed = (run->options.seed + sub_run->seed_step) % PG_INT32_MAX;
	request->asked.given.has[OPTION_seed] = true;
	request->asked = options_pass_on(&request->asked, sub_run->scenario);
	request->time_max_ms = loop_now_us() < run->deadline_us ? (int64) (run->deadline_us - loop_now_us()) / 1000 : 0;
}

/*
 * Checks what is checked when a caller asks for a run; ERROR says what is wrong.
 * Sets "sound" if the ERROR may go away by itself: another run excludes this one
 * now, or has taken what it needs.
 */
static void
sub_run_preflight(const Run *run, const SubRun *sub_run, RunRequest *request, volatile bool *sound)
{
	Oid			user;
	int			sec_context;

	StartTransactionCommand();
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(run->request.user, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	sub_run_plan(run, sub_run, request);
	*sound = true;
	run_entry_require(request);
	*sound = false;
	preflight_run(request);
	*sound = true;
	SetUserIdAndSecContext(user, sec_context);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
}

/* Returns how many of the runs that it has started are under way. */
int
sub_runs_left(Run *run)
{
	int			n = 0;

	for (int i = 0; i < run->nsub_runs; i++)
		n += run->sub_runs[i].state == SUB_RUN_UNDER_WAY;
	return n;
}

/* Is there room for all that it and its siblings are going to hold? */
static bool
room_beside_siblings(const Run *run, const RunRequest *request)
{
	int			needed = request->needed;
	Census		census;

	for (int i = 0; i < run->nsub_runs; i++)
		if (run->sub_runs[i].state == SUB_RUN_UNDER_WAY)
			needed += run->sub_runs[i].needed;
	census_take(&census);
	return needed <= census.capacity - census.in_use;
}

/* Claims an entry and launches the runner; ERROR, or false, if there is none now. */
static bool
sub_run_launch(Run *run, SubRun *sub_run, const RunRequest *request)
{
	Claim		claim = run_entry_claim(request);
	MemoryContext old = MemoryContextSwitchTo(run->context);

	sub_run->number = claim.number;
	sub_run->ticket = claim.ticket;
	sub_run->needed = request->needed;
	sub_run->started_us = loop_now_us();
	sub_run->worker = runner_launch(claim.number);
	MemoryContextSwitchTo(old);
	sub_run->state = SUB_RUN_UNDER_WAY;
	if (sub_run->worker != NULL)
		return true;
	(void) run_entry_free(&claim);
	sub_run_release(sub_run);
	sub_run->state = SUB_RUN_NEW;
	snprintf(sub_run->reason, RUN_REASON_LEN,
			 "no background worker is free for a runner (max_worker_processes = %d)",
			 max_worker_processes);
	return false;
}

/* Starts it if there is nothing against it; ERROR says what there is. */
static SubRunStart
sub_run_begin(Run *run, SubRun *sub_run, volatile bool *sound)
{
	RunRequest	request;

	sub_run_preflight(run, sub_run, &request, sound);
	if (sub_runs_left(run) == 0 || room_beside_siblings(run, &request))
		return sub_run_launch(run, sub_run, &request) ? SUB_RUN_STARTED : SUB_RUN_NOT_NOW;
	strlcpy(sub_run->reason, "there is no room for it beside the other runs", RUN_REASON_LEN);
	return SUB_RUN_NOT_NOW;
}

/*
 * SubRunMethods.start.  A sub-run beside others may be excluded by those, for now;
 * what is wrong with one that is alone stays wrong.
 */
static SubRunStart
sub_run_start(Run *run, SubRun *sub_run)
{
	volatile SubRunStart result = SUB_RUN_NOT_NOW;
	volatile bool sound = false;

	PG_TRY();
	{
		result = sub_run_begin(run, sub_run, &sound);
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(run->context, DEBUG1);

		snprintf(sub_run->reason, RUN_REASON_LEN, "%s", error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	if (result == SUB_RUN_NOT_NOW && !sound && sub_runs_left(run) == 0)
		return SUB_RUN_IMPOSSIBLE;
	return result;
}

/*
 * SubRunMethods.update.  It is over when its runner has exited, too: the next
 * sub-run may need the worker.
 */
static void
sub_run_update(Run *run, SubRun *sub_run)
{
	Claim		claim = sub_run_claim(sub_run);
	RunStatus	view;
	pid_t		pid;

	if (sub_run->state != SUB_RUN_UNDER_WAY ||
		GetBackgroundWorkerPid(sub_run->worker, &pid) == BGWH_NOT_YET_STARTED)
		return;
	view = run_entry_view(&claim);
	sub_run->run_id = view.run_id;
	if (GetBackgroundWorkerPid(sub_run->worker, &pid) == BGWH_STARTED)
		return;
	view = run_entry_view(&claim);
	sub_run->run_id = view.run_id;
	sub_run->verdict = view.verdict;
	sub_run->too_busy = view.too_busy;
	strlcpy(sub_run->reason, view.reason, RUN_REASON_LEN);
	if (run_entry_free(&claim))
	{
		sub_run->verdict = VERDICT_ABORTED;
		strlcpy(sub_run->reason, "its runner, a background worker, could not start", RUN_REASON_LEN);
	}
	sub_run_release(sub_run);
}

/* In the caller's name, as the options and the target are: ERROR if they are none any more. */
static void
base_read(Run *run, const char *target, const char *options)
{
	RunRequest *base = MemoryContextAlloc(run->context, sizeof(RunRequest));
	Oid			user;
	int			sec_context;

	*base = run->request;
	StartTransactionCommand();
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(run->request.user, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	target_find(target, base);
	base->asked = options_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(options))), run->scenario);
	SetUserIdAndSecContext(user, sec_context);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
	run->base = base;
}

/* SubRunMethods.base_differs. */
static bool
base_differs(Run *run)
{
	char	   *from = psprintf("FROM @.pool_exhaust_runs WHERE id = " INT64_FORMAT, run->options.against);
	char	   *target = query_text(run, psprintf("SELECT target %s", from));
	char	   *options = query_text(run, psprintf("SELECT options %s", from));

	if (target[0] == '\0')
		run_end(run, VERDICT_INVALID, "run " INT64_FORMAT ", that it is compared with, is gone", run->options.against);
	base_read(run, target, options);
	return run->base->target != run->request.target || strcmp(run->base->target_name, run->request.target_name) != 0 ||
		!options_ask_same(run->base, &run->request, run->scenario);
}

const SubRunMethods sub_run_methods = {
	.base_differs = base_differs,
	.start = sub_run_start,
	.update = sub_run_update,
	.target_types = target_types,
};

/*
 * Ends the runs that it has started and that are still under way; returns when
 * they hold nothing, or the time is over.
 */
void
sub_runs_end(Run *run)
{
	uint64		end_us = loop_now_us() + (uint64) END_TIMEOUT_MS * 1000;

	for (int i = 0; i < run->nsub_runs; i++)
	{
		Claim		claim = sub_run_claim(&run->sub_runs[i]);

		if (run->sub_runs[i].state == SUB_RUN_UNDER_WAY)
			run_entry_stop(&claim, STOP_PARENT_ENDED);
	}
	while (sub_runs_left(run) > 0 && loop_now_us() < end_us)
	{
		loop_turn(&run->loop, TURN_MS);
		for (int i = 0; i < run->nsub_runs; i++)
			sub_run_update(run, &run->sub_runs[i]);
	}
}

/* This process ends early: their entries are free when they are done. */
void
sub_runs_forget(Run *run)
{
	for (int i = 0; run != NULL && i < run->nsub_runs; i++)
		if (run->sub_runs[i].state == SUB_RUN_UNDER_WAY)
			sub_run_release(&run->sub_runs[i]);
}

/*
 * sub_runs.c
 *		Runs that a run starts: each has a place, a runner, an id and a report of
 *		its own, as if the caller had asked for it.
 *
 * What is asked of the caller is asked again for each of them, in the caller's
 * name.  None outlives the run that it is a part of: that one tells them when it
 * ends, and they look whether it is still there.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "observe/slots/census.h"
#include "request/extension.h"
#include "request/options.h"
#include "request/preflight.h"
#include "request/run_table.h"
#include "request/target.h"
#include "runner/runner.h"
#include "runner/sub_runs.h"

#define END_TIMEOUT_MS	(30 * 1000)
#define TURN_MS			20

static Claim
child_claim(const Child *child)
{
	return (Claim) {child->place, child->ticket};
}

/* Nobody asks after it any more. */
static void
child_release(Child *child)
{
	Claim		claim = child_claim(child);

	place_release(&claim);
	child->state = CHILD_OVER;
	child->ended_us = loop_now_us();
	if (child->worker != NULL)
		pfree(child->worker);
	child->worker = NULL;
}

/*
 * The plan of the run, but for the scenario: with the options that it was given,
 * where the scenario has them, and no more time than is left.
 */
static void
child_plan(const Run *run, const Child *child, RunPlan *plan)
{
	Options    *options = &plan->options;
	char	   *given = options_given(run->scenario, &run->plan.options, child->scenario);

	*plan = run->plan;
	plan->parent = run->slot->ticket;
	strlcpy(plan->scenario, child->scenario->name, NAMEDATALEN);
	if (child->target != plan->target)
		target_default(child->scenario, plan);
	options_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(given))),
				  child->scenario, plan->target, options);
	options->timeout_ms = Min(options->timeout_ms,
							  (int64) (run->deadline_us - loop_now_us()) / 1000);
}

/*
 * Checks what is checked when somebody asks for a run; ERROR says what is wrong.
 * "sound" tells whether that may be different in a moment: who is in the way of
 * it may also have taken what it needs.
 */
static void
child_preflight(const Run *run, const Child *child, RunPlan *plan, volatile bool *sound)
{
	Oid			user;
	int			sec_context;

	StartTransactionCommand();
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(run->plan.user, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	child_plan(run, child, plan);
	*sound = true;
	place_require(plan);
	*sound = false;
	preflight_plan(plan);
	*sound = true;
	SetUserIdAndSecContext(user, sec_context);
	CommitTransactionCommand();
	MemoryContextSwitchTo(run->context);
}

static int
siblings_under_way(const Run *run, int *needed)
{
	int			n = 0;

	*needed = 0;
	for (int i = 0; i < run->nchildren; i++)
	{
		if (run->children[i].state != CHILD_UNDER_WAY)
			continue;
		*needed += run->children[i].needed;
		n++;
	}
	return n;
}

/* Is there room for all that it and its siblings are going to hold? */
static bool
room_beside(int siblings_need, const RunPlan *plan)
{
	Census		census;

	census_take(&census);
	return siblings_need + plan->needed <= census.capacity - census.in_use;
}

/* Claims a place and launches the runner; ERROR, or false, if there is none now. */
static bool
child_launch(Run *run, Child *child, const RunPlan *plan)
{
	Claim		claim = place_claim(plan);
	MemoryContext old = MemoryContextSwitchTo(run->context);

	child->place = claim.place;
	child->ticket = claim.ticket;
	child->needed = plan->needed;
	child->started_us = loop_now_us();
	child->worker = runner_launch(claim.place);
	MemoryContextSwitchTo(old);
	child->state = CHILD_UNDER_WAY;
	if (child->worker != NULL)
		return true;
	(void) place_free(&claim);
	child_release(child);
	child->state = CHILD_NEW;
	snprintf(child->reason, RUN_REASON_LEN,
			 "no background worker is free for a runner (max_worker_processes = %d)",
			 max_worker_processes);
	return false;
}

/* Starts it if there is nothing against it; ERROR says what there is. */
static ChildStart
child_begin(Run *run, Child *child, volatile bool *sound)
{
	int			needed;
	bool		alone = siblings_under_way(run, &needed) == 0;
	RunPlan		plan;

	child_preflight(run, child, &plan, sound);
	if (alone || room_beside(needed, &plan))
		return child_launch(run, child, &plan) ? CHILD_STARTED : CHILD_NOT_NOW;
	strlcpy(child->reason, "there is no room for it beside the others", RUN_REASON_LEN);
	return CHILD_NOT_NOW;
}

/*
 * ChildRuns.start.  What is in the way of a child that has siblings may be one of
 * those; what is wrong with one that has none stays wrong.
 */
static ChildStart
child_start(Run *run, Child *child)
{
	volatile ChildStart result = CHILD_NOT_NOW;
	volatile bool sound = false;
	int			needed;

	PG_TRY();
	{
		result = child_begin(run, child, &sound);
	}
	PG_CATCH();
	{
		ErrorData  *error = error_catch(run->context, DEBUG1);

		snprintf(child->reason, RUN_REASON_LEN, "%s", error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	if (result == CHILD_NOT_NOW && !sound && siblings_under_way(run, &needed) == 0)
		return CHILD_IMPOSSIBLE;
	return result;
}

/* ChildRuns.look.  It is over when its runner, too, has gone: the next may need the worker. */
static void
child_look(Run *run, Child *child)
{
	Claim		claim = child_claim(child);
	RunView		view;
	pid_t		pid;

	if (child->state != CHILD_UNDER_WAY ||
		GetBackgroundWorkerPid(child->worker, &pid) == BGWH_NOT_YET_STARTED)
		return;
	view = place_view(&claim);
	child->run_id = view.run_id;
	if (GetBackgroundWorkerPid(child->worker, &pid) == BGWH_STARTED)
		return;
	view = place_view(&claim);
	child->run_id = view.run_id;
	child->verdict = view.verdict;
	strlcpy(child->reason, view.reason, RUN_REASON_LEN);
	if (place_free(&claim))
	{
		child->verdict = VERDICT_ABORTED;
		strlcpy(child->reason, "its runner, a background worker, could not start", RUN_REASON_LEN);
	}
	child_release(child);
}

const ChildRuns child_runs = {
	.start = child_start,
	.look = child_look,
	.target_names = target_names,
};

/*
 * Ends the children that are still under way, and waits until they hold nothing.
 * Returns how many do after all.
 */
int
children_end(Run *run)
{
	uint64		end_us = loop_now_us() + (uint64) END_TIMEOUT_MS * 1000;
	int			needed;
	int			left;

	for (int i = 0; i < run->nchildren; i++)
	{
		Claim		claim = child_claim(&run->children[i]);

		if (run->children[i].state == CHILD_UNDER_WAY)
			place_stop(&claim, STOP_PARENT_ENDED);
	}
	while ((left = siblings_under_way(run, &needed)) > 0 && loop_now_us() < end_us)
	{
		loop_turn(&run->loop, TURN_MS);
		for (int i = 0; i < run->nchildren; i++)
			child_look(run, &run->children[i]);
	}
	return left;
}

/* This process ends early: their places are for others when they are done. */
void
children_forget(Run *run)
{
	for (int i = 0; run != NULL && i < run->nchildren; i++)
		if (run->children[i].state == CHILD_UNDER_WAY)
			child_release(&run->children[i]);
}

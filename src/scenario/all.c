/*
 * all.c
 *		All other scenarios, each as a run of its own, and what they came to.
 *
 * The target decides which runs may be under way at once: a run on the server or
 * on a foreign one must be alone; those on pools of their own go on two lanes, one
 * for those that measure time, so that as little as possible runs beside them, one
 * for those that mostly wait.
 */
#include "postgres.h"

#include "scenario/list.h"
#include "story/sub_runs.h"

#define RETRY_US	(100 * 1000)

typedef enum Lane
{
	LANE_ALONE,					/* before the others, one after the other */
	LANE_TIMED,
	LANE_PATIENT
} Lane;

/* How long a run may wait for others to end, by profile. */
static const int patience_ms[PROFILES] = {30 * 1000, 600 * 1000, 4 * 3600 * 1000};

typedef struct Job
{
	SubRun	   *sub_run;
	char	   *name;			/* "leak on pool" */
	const char *skip;			/* why it is not run at all, or NULL */
	Lane		lane;
	bool		done;			/* its check is made */
	uint64		wanted_us;		/* since when it is its turn; 0 = it is not */
	uint64		retry_us;		/* when it is tried again */
} Job;

typedef struct All
{
	Run		   *run;
	Job		   *jobs;			/* one for each of run->sub_runs */
	int			ndone;
} All;

/* Returns why a scenario that has that target is not run on it; NULL: it is. */
static const char *
why_skip(const Run *run, const Scenario *scenario, const TargetType *target)
{
	if (target_needs_second(target, scenario) && run->options.second[0] == '\0')
		return "it needs a second foreign server: see option second";
	if (scenario->heals && !target->terminates)
		return "it waits until the target is restarted: run it by itself";
	return NULL;
}

static void
job_add(All *all, const Scenario *scenario)
{
	Run		   *run = all->run;
	Job		   *job = &all->jobs[run->nsub_runs];
	SubRun	   *sub_run = &run->sub_runs[run->nsub_runs++];
	bool		each = run->target->each_default;
	const TargetType *target;

	job->sub_run = sub_run;
	sub_run->scenario = scenario;
	sub_run->part = PART_SCENARIO;
	sub_run->target = each ? scenario->default_target : run->request.target;
	target = run->sub_run_methods->target_types[sub_run->target];
	job->lane = target->exclusive ? LANE_ALONE : scenario->patient ? LANE_PATIENT : LANE_TIMED;
	job->skip = why_skip(run, scenario, target);
	job->name = psprintf("%s on %s", scenario->name,
						 each ? target->name : run->request.target_name);
}

/* Makes a job of each scenario that has that target and is not made of others. */
static All *
all_make(Run *run)
{
	All		   *all = palloc0(sizeof(All));

	all->run = run;
	all->jobs = palloc0(sizeof(Job) * nscenarios);
	run->sub_runs = palloc0(sizeof(SubRun) * nscenarios);
	for (int i = 0; i < nscenarios; i++)
	{
		const Scenario *scenario = scenarios[i];

		if (scenario_has_pools(scenario) &&
			(run->target->each_default || (scenario->targets & (1 << run->request.target))))
			job_add(all, scenario);
	}
	return all;
}

/* Returns "16 of  16 checks   0.84 s   run 13", or why it did not pass and where its report is, palloc'd. */
static char *
sub_run_text(Run *run, const SubRun *sub_run)
{
	double		elapsed_s = (sub_run->ended_us - sub_run->started_us) / 1e6;
	char	   *checks;

	if (sub_run->run_id == 0)
		return pstrdup(sub_run->reason);
	if (sub_run->verdict != VERDICT_PASS)
		return psprintf("run " INT64_FORMAT ", %.2f s: %s; SELECT pool_exhaust_report(" INT64_FORMAT ")",
						sub_run->run_id, elapsed_s, sub_run->reason, sub_run->run_id);
	checks = query_text(run, psprintf("SELECT pg_catalog.format('%%3s of %%3s checks', "
									  "pg_catalog.count(*) FILTER (WHERE outcome = 'pass'), "
									  "pg_catalog.count(*) FILTER (WHERE outcome <> 'skip')) "
									  "FROM @.pool_exhaust_checks WHERE run_id = " INT64_FORMAT,
									  sub_run->run_id));
	return psprintf("%s %6.2f s   run " INT64_FORMAT, checks, elapsed_s, sub_run->run_id);
}

/* Makes its check: it is over, or has never begun. */
static void
job_done(All *all, Job *job)
{
	Run		   *run = all->run;
	const SubRun *sub_run = job->sub_run;
	char	   *text;

	job->done = true;
	all->ndone++;
	if (job->skip != NULL)
	{
		check_skip(run, job->name, job->skip);
		return;
	}
	text = sub_run_text(run, sub_run);
	check_words(run, job->name, verdict_names[VERDICT_PASS], verdict_names[sub_run->verdict], text);
	run_say(run, "%-30s %-8s %s", job->name, verdict_names[sub_run->verdict], text);
}

/* Starts it, if it can be started now, or in the end not at all. */
static void
job_start(All *all, Job *job)
{
	Run		   *run = all->run;
	uint64		now_us = loop_now_us();
	SubRunStart start;

	if (job->wanted_us == 0)
		job->wanted_us = now_us;
	if (now_us < job->retry_us)
		return;
	job->retry_us = now_us + RETRY_US;
	start = run->sub_run_methods->start(run, job->sub_run);
	if (start == SUB_RUN_STARTED || (start == SUB_RUN_NOT_NOW && now_us - job->wanted_us <
								   (uint64) patience_ms[run->options.profile] * 1000))
		return;
	job->sub_run->verdict = VERDICT_INVALID;	/* it has proved nothing */
	job_done(all, job);
}

/* Goes on with the first of the lane that is not done; returns whether all of them are. */
static bool
lane_step(All *all, Lane lane)
{
	Run		   *run = all->run;

	for (int i = 0; i < run->nsub_runs; i++)
	{
		Job		   *job = &all->jobs[i];

		if (job->lane != lane || job->done)
			continue;
		if (job->skip == NULL && job->sub_run->state == SUB_RUN_NEW)
			job_start(all, job);
		run->sub_run_methods->update(run, job->sub_run);
		if (job->skip != NULL || job->sub_run->state == SUB_RUN_OVER)
			job_done(all, job);
		if (!job->done)
			return false;
	}
	return true;
}

/* One phase: these lanes, from their beginnings to their ends. */
static void
lanes_run(All *all, const char *name, Lane first, Lane last)
{
	Run		   *run = all->run;
	bool		over = false;

	phase(run, name);
	run_progress(run, &all->ndone, run->nsub_runs);
	while (!over)
	{
		over = true;
		for (Lane lane = first; lane <= last; lane++)
			over &= lane_step(all, lane);
		if (!over)
			wait_turn(run, run->deadline_us, EVENT_TURN_MS, false);
	}
	phase_end(run);
}

/*
 * Ends the run as invalid if nothing is wrong but that some are invalid, and the
 * machine was too busy for them: those prove nothing, and so does this.
 */
static void
require_all_proved(All *all)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < all->run->nsub_runs; i++)
	{
		const Job  *job = &all->jobs[i];

		if (job->skip != NULL || job->sub_run->verdict == VERDICT_PASS)
			continue;
		if (!job->sub_run->too_busy)
			return;
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", job->name);
	}
	if (names.len > 0)
		run_end(all->run, VERDICT_INVALID, "the machine was too busy for %s; run them again when it is less so", names.data);
}

static void
all_play(Run *run)
{
	All		   *all = all_make(run);

	lanes_run(all, "alone", LANE_ALONE, LANE_ALONE);
	lanes_run(all, "side by side", LANE_TIMED, LANE_PATIENT);
	require_all_proved(all);
}

const Scenario scenario_all = {
	.name = "all",
	.summary = "all other scenarios, each as a run of its own",
	.effect = "what they do: fills the server, one run at a time, and opens pools",
	.default_target = TARGET_EACH,
	.targets = ON_ALL,
	.parties = PARTIES_NONE,
	.options = (const OptionDefault[]) {
		{OPTION_timeout_ms, {120 * 1000, 3600 * 1000, 24 * 3600 * 1000}},
		{OPTION_second},
		{OPTION_END}
	},
	.play = all_play,
};

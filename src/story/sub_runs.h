/*
 * sub_runs.h
 *		Runs that a run starts, and that are recorded and judged on their own.
 *
 * A story says what is to be run; the runner brings the functions that run it.
 */
#pragma once

#include "story/story.h"

typedef enum SubRunState
{
	SUB_RUN_NEW,
	SUB_RUN_UNDER_WAY,
	SUB_RUN_OVER				/* holds nothing any more; verdict and reason stand */
} SubRunState;

typedef enum SubRunStart
{
	SUB_RUN_STARTED,
	SUB_RUN_NOT_NOW,			/* other runs exclude it; "reason" says which */
	SUB_RUN_IMPOSSIBLE			/* as things are; "reason" says why */
} SubRunStart;

typedef struct SubRun
{
	const Scenario *scenario;	/* these four set by the story */
	TargetKind	target;			/* not of a base: that has its own */
	RunPart		part;
	int			seed_step;		/* its seed is so much more than that of the run */
	SubRunState state;
	int64		run_id;			/* 0: it was never recorded */
	Verdict		verdict;
	bool		too_busy;		/* invalid or aborted, on a machine that was too busy */
	char		reason[RUN_REASON_LEN];
	uint64		started_us;
	uint64		ended_us;

	/* Private to runner/sub_runs.c. */
	int			number;
	uint64		ticket;
	int			needed;			/* connections that it is going to hold */
	void	   *worker;
} SubRun;

/*
 * How a story starts and follows sub-runs.  They do not throw, unless the process
 * must end.
 */
typedef struct SubRunMethods
{
	/*
	 * Reads what the run of option against was asked; returns whether that is
	 * anything else than is asked now.  Its sub-runs with PART_BASE are asked the same
	 * as it.  Ends the run if there is none any more.
	 */
	bool		(*base_differs) (Run *run);

	/* Tries to start it, with the same checks as any other run. */
	SubRunStart (*start) (Run *run, SubRun *sub_run);

	/* Brings state, run_id, verdict, too_busy and reason up to date. */
	void		(*update) (Run *run, SubRun *sub_run);

	const TargetType *const *target_types;	/* by TargetKind */
} SubRunMethods;
